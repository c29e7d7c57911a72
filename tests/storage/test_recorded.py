"""Which recorded events rules are tried on."""

from __future__ import annotations

from functools import partial

from sqlalchemy import Connection

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


async def test_a_confirmed_callback_shows_its_task_although_a_newer_payload_moved_it(
    database: Database,
) -> None:
    """Progress, the SUCCESS that a callback told, and the same SUCCESS as the upstream confirmed it: only the last is marked as what moved
    the task."""
    told = b'{"status":"SUCCESS","buttons":[]}'
    steps = [
        event(1)._replace(signal="task.progressed", payload=b'{"progress":"93%"}'),
        event(1)._replace(advanced=False, payload=told, provenance="confirmed"),
        event(1)._replace(signal=None, source="reconcile", payload=b'{"later":1}'),
    ]
    await database.write("append", lambda connection: event_log.append(connection, *steps))
    found = await database.read(lambda connection: [*recorded(connection, ["task.succeeded"], 0)])
    assert [one.latest for one in found] == [told]
