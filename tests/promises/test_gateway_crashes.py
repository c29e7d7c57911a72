"""The gateway is killed at each point between an order and its answer: no ticket is lost, and none is charged twice."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.customer import CLIENTS, Customer, check_order

CRASHING = str(Path(__file__).parent / "crashing_server.py")
HURRIED = "timeout_s = 2\nsettle_after_s = 0.5\n"
POINTS = ["command", "begin_attempt", "settle_attempt", "receipt", "fan_out", "told"]
SPENDING = ("command", "begin_attempt", "settle_attempt", "receipt")


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        pytest.param(name, stage, marks=[] if name in SPENDING else [pytest.mark.soak])
        for name in POINTS
        for stage in ("before", "after")
    ],
)
def test_a_crash_at_any_point_of_an_order_loses_and_doubles_nothing(
    serve: Any, start_hostile: Any, customer: Any, mailbox: Any, eventually: Any, stage: str, name: str
) -> None:
    """A client that got no answer sends its order again, as all do; one that got a ticket finds it after the restart."""
    upstream, box = start_hostile(), mailbox()
    order = {"prompt": "through a crash", "notifyHook": box.url, "state": "mine"}
    server = serve(upstream, CLIENTS, upstream_too=HURRIED, command=[CRASHING, stage, name])
    told = ""
    with contextlib.suppress(httpx.TransportError):
        told = customer(server).ticket("imagine", **order)
    assert server.wait() == -9
    ann: Customer = customer(serve(upstream, CLIENTS, upstream_too=HURRIED))
    kept = ann.ids_of("/task/list")
    assert len(kept) == (0 if (name, stage) == ("command", "before") else 1), "what is committed is not lost"
    if told:
        assert kept == [told]
    else:
        told = ann.ticket("imagine", **order)
    assert ann.ids_of("/task/list") == [told], "an order that got no answer is recognised"
    eventually(lambda: ann.fetch(told)["status"] == "SUCCESS")
    assert ann.fetch(told)["state"] == "mine"
    box.until_it_ends(told)
    # What was said just before the crash is said again, under the same id.
    check_order(list({message.headers["webhook-id"]: message for message in box.taken}.values()))
    assert len(upstream.ledger.paid()) == 1
