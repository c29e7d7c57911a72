"""A database of release 0.1.0, in the midst of its work, goes on under this release: nothing is lost, nothing is paid twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import released
from tests.support.postgres import fresh_database

RULES = """
[[rules]]
name = "late"
on = "task.succeeded"
if = "false"
press = "U1"

[upstreams.main]
url = "{url}"
verify = "trust"

[upstreams.other]
url = "http://127.0.0.1:9"
"""
"""The rule that the recorded deliveries are for; the upstream of the uncertain submission does not answer."""


@pytest.fixture(params=["sqlite", "postgres"])
def old_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database that release 0.1.0 left behind."""
    if request.param == "sqlite":
        released.load_sqlite(tmp_path / "old.db")
        yield f"sqlite:///{tmp_path}/old.db"
        return
    with fresh_database(request.getfixturevalue("postgres_server")) as url:
        released.load_postgres(url)
        yield url


def test_a_database_of_0_1_0_works_on(
    old_url: str, start_sandbox: Any, start_server: Any, eventually: Any
) -> None:
    """What waits is sent once, what is uncertain stays so, what is dead is listed and can be retried."""
    sandbox = start_sandbox("--speed", "50")
    server = start_server(toml=RULES.format(url=sandbox.url), DATABASE_URL=old_url)

    def by_state(state: str) -> int:
        return len(server.get(f"/api/submissions?state={state}")["submissions"])

    eventually(lambda: by_state("accepted") == 3)
    assert (by_state("uncertain"), by_state("dead"), by_state("waiting")) == (1, 1, 0)
    eventually(lambda: len(server.get("/api/deliveries?state=done")["deliveries"]) >= 2)

    letters = server.get("/api/dead-letters")["dead_letters"]
    assert sorted(letter["kind"] for letter in letters) == ["delivery", "submission"]
    for letter in letters:
        assert server.http.post(f"/api/dead-letters/{letter['id']}/retry").status_code == 202
    eventually(lambda: by_state("accepted") == 4)
    eventually(lambda: not server.get("/api/deliveries?state=dead")["deliveries"])
    assert server.get("/api/dead-letters")["dead_letters"] == []

    sent = sorted(body["prompt"] for body in sandbox.accepted("/submit/imagine"))
    assert sent == ["a bird", "a fish", "a horse"]
    assert by_state("uncertain") == 1
    assert len(server.get("/api/quarantine")["quarantine"]) == 2
