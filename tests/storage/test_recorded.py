"""Which recorded events rules are tried on."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import Connection

from storage.deliveries import delivery_queue
from storage.engine import Database
from storage.events import event_log
from storage.events.event_log import NewEvent
from storage.reading.recorded import recorded

EVENTS = 4000
MINUTE_MS, HOUR_MS = 60_000, 3_600_000


def received_ms(number: int) -> int:
    """Two minutes after the one before; in the middle somebody set the clock back by twelve hours."""
    return number * 2 * MINUTE_MS - (12 * HOUR_MS if number > EVENTS // 2 else 0)


def event(number: int) -> NewEvent:
    return NewEvent(
        upstream="main",
        task_id=f"task-{number}",
        submission_id="",
        source="callback",
        signal="task.succeeded",
        action="",
        status="SUCCESS",
        progress=100,
        advanced=True,
        pending=False,
        detail="",
        payload=b"{}",
        received_at_ms=received_ms(number),
        provenance="callback",
    )


def succeeded(connection: Connection, since_ms: int) -> list[str]:
    return [one.event.task_id for one in recorded(connection, ["task.succeeded"], since_ms)]


async def test_all_events_since_a_time_come_in_order(database: Database) -> None:
    """However many are older, and although a clock was set back: the search for the first one misses none."""

    def append(connection: Connection) -> None:
        for first in range(1, EVENTS, 1000):
            event_log.append(connection, *[event(number) for number in range(first, first + 1000)])

    await database.write("append", append)
    for since_ms in (0, received_ms(EVENTS // 2) - 6 * HOUR_MS, received_ms(EVENTS), received_ms(EVENTS) + 1):
        found = await database.read(partial(succeeded, since_ms=since_ms))
        assert found == [
            f"task-{number}" for number in range(1, EVENTS + 1) if received_ms(number) >= since_ms
        ]


async def test_without_events_nothing_is_recorded(database: Database) -> None:
    assert await database.read(lambda connection: succeeded(connection, 0)) == []


@pytest.mark.parametrize("has_run", [True, False])
async def test_what_was_read_back_is_what_receivers_acted_on(database: Database, has_run: bool) -> None:
    """Progress, the SUCCESS that a callback told, and the same SUCCESS with its buttons, as the upstream showed it: only the last is marked
    as what moved the task. Whether the upstream showed it at once is known from the deliveries of the callback."""
    told = b'{"status":"SUCCESS","buttons":[]}'
    steps = [
        event(1)._replace(signal="task.progressed", payload=b'{"progress":"93%"}'),
        event(1)._replace(advanced=False, payload=told, provenance="confirmed", pending=True),
        event(1)._replace(signal=None, source="reconcile", payload=b'{"later":1}', provenance="polled"),
    ]
    await database.write("append", lambda connection: event_log.append(connection, *steps))
    if has_run:
        await database.write(
            "fan out", lambda one: delivery_queue.fan_out(one, lambda _: ["plugin:x"], 100, 1)
        )
        await database.write("run", lambda one: delivery_queue.claim(one, 1, 1, room=lambda _: 1))
    found = await database.read(lambda connection: [*recorded(connection, ["task.succeeded"], 0)])
    assert [(one.latest, one.is_unverified) for one in found] == [(b'{"later":1}', not has_run)]


async def test_a_callback_that_nobody_has_read_back_is_not_verified(database: Database) -> None:
    """Unlike one that the upstream has confirmed."""
    steps = [event(1), event(2)._replace(provenance="confirmed")]
    await database.write("append", lambda connection: event_log.append(connection, *steps))
    found = await database.read(lambda connection: [*recorded(connection, ["task.succeeded"], 0)])
    assert [one.is_unverified for one in found] == [True, False]
