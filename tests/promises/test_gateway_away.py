"""The database is away: the only case in which a client's order is not kept. The client is told so, wherever its page comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from storage.migrate import migrate
from tests.support import postgres
from tests.support.customer import CLIENTS

ORIGIN = {"origin": "https://draw.example"}


@pytest.fixture
def durable_server() -> Iterator[postgres.Server]:
    """A PostgreSQL of the test's own, which can be stopped."""
    with postgres.running() as server:
        migrate(server.url)
        yield server


def test_an_order_that_cannot_be_kept_is_a_503_that_other_origins_can_read(
    serve: Any, start_hostile: Any, customer: Any, eventually: Any, durable_server: postgres.Server
) -> None:
    """Nothing is sent, and nothing is half-kept: when the database is back, the same order is taken once."""
    upstream = start_hostile()
    ann = customer(serve(upstream, CLIENTS, DATABASE_URL=durable_server.url))
    before = ann.imagine("kept before")
    eventually(lambda: ann.has_ended(before))

    durable_server.stop()
    asked = [
        ann.http.post("/submit/imagine", json={"prompt": "not kept"}, headers=ORIGIN),
        ann.http.get(f"/task/{before}/fetch", headers=ORIGIN),
        ann.http.post("/task/list-by-condition", json={"ids": [before]}, headers=ORIGIN),
    ]
    for answer in asked:
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.headers["access-control-allow-origin"] == "*"
        told = answer.json()
        assert (told["code"], told["result"], told["properties"]) == (9, None, {})
        assert "confirm" not in told["description"]

    durable_server.start()
    eventually(lambda: ann.http.get(f"/task/{before}/fetch").status_code == 200)
    ticket = ann.imagine("not kept")
    eventually(lambda: ann.fetch(ticket)["status"] == "SUCCESS")
    assert [one.body["prompt"] for one in upstream.ledger.paid()] == ["kept before", "not kept"]
