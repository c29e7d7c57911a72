"""What-if on recorded streams that tell less than the server saw: buttons came after the callback that told the end, or a row cannot be decoded."""

from __future__ import annotations

import tomllib

import msgspec
import pytest

from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.policy.chain_budget import Budget
from dispatcher.rules.load import load_rules
from dispatcher.trying.report import Report
from dispatcher.trying.whatif import WhatIf
from hookchain.testing import grid
from midjourney.dialects import DIALECTS
from storage.deliveries import delivery_queue
from storage.engine import Connection, Database
from storage.events import event_log
from storage.events.event_log import NewEvent
from storage.reading.recorded import recorded

RULE = """
[[rules]]
name = "up"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"
"""


def event(payload: dict[str, object], at_ms: int) -> NewEvent:
    return NewEvent(
        upstream="main",
        task_id="g",
        submission_id="",
        source="callback",
        signal="task.succeeded",
        action="IMAGINE",
        status="SUCCESS",
        progress=100,
        advanced=False,
        pending=True,
        detail="",
        payload=msgspec.json.encode(payload),
        received_at_ms=at_ms,
        provenance="confirmed",
    )


async def tried(database: Database) -> Report:
    compiled = load_rules(tomllib.loads(RULE)["rules"], file="rules", text=RULE)
    handles = {"main": UpstreamHandle(name="main", dialect=DIALECTS["mj-plus"])}
    what_if = WhatIf(compiled, handles, {}, Budget())

    def read(connection: Connection) -> Report:
        happened = recorded(connection, what_if.facts, 0, with_moves=True)
        return what_if.run(happened, until_ms=10_000)

    return await database.read(read)


@pytest.mark.parametrize("has_run", [True, False])
async def test_rules_get_the_buttons_that_were_read_back(database: Database, has_run: bool) -> None:
    """The callback shows none. Its receivers ran, and the upstream showed them then; or none ran, and when they came is not known."""
    bare = event({**grid("g"), "status": "SUCCESS", "buttons": []}, 1000)
    whole = event({**grid("g"), "status": "SUCCESS"}, 1200)._replace(
        source="reconcile", signal=None, provenance="polled", advanced=True, pending=False
    )
    await database.write("append", lambda one: event_log.append(one, bare, whole))
    if has_run:
        await database.write(
            "fan out", lambda one: delivery_queue.fan_out(one, lambda _: ["rule:x"], 9, 1000)
        )
        await database.write("run", lambda one: delivery_queue.claim(one, 1, 1000, room=lambda _: 1))
    report = await tried(database)
    assert [one.label for one in report.suggested] == ["U1", "U2", "U3", "U4"]
    assert [note.startswith("when the buttons came") for note in report.notes] == [True] * (not has_run)


async def test_a_callback_that_nobody_has_read_back_is_told(database: Database) -> None:
    """The upstream might say something else."""
    only = event({**grid("g"), "status": "SUCCESS", "buttons": []}, 1000)._replace(
        provenance="callback", advanced=True
    )
    await database.write("append", lambda one: event_log.append(one, only))
    report = await tried(database)
    assert report.suggested == []
    assert [note.startswith("whether the upstream would have confirmed") for note in report.notes] == [True]


async def test_an_event_that_cannot_be_decoded_is_left_out(database: Database) -> None:
    """And told; the others are tried."""
    whole = event({**grid("g"), "status": "SUCCESS"}, 1200)._replace(advanced=True)
    broken = whole._replace(payload=b"\x00", task_id="b", received_at_ms=1000)
    await database.write("append", lambda one: event_log.append(one, broken, whole))
    report = await tried(database)
    assert [(one.task_id, one.label) for one in report.suggested][:1] == [("g", "U1")]
    assert [note.endswith("(1, the first is event 1)") for note in report.notes] == [True]
