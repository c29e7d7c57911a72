"""The health of an upstream's callbacks, read from the stored events."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

import msgspec
from sqlalchemy import Connection

from midjourney.decode import kept_task
from storage.reading import sql_health
from storage.reading.sql_health import End

LAST = 200
"""The number of newest finished tasks from which callback health is computed."""

ENOUGH = 3
"""The number of finished tasks needed to decide whether an upstream calls back."""


def never_calls(connection: Connection, upstream: str) -> bool:
    """True if our newest finished tasks ended without a single callback, because the upstream drops notifyHook."""
    counts = sql_health.COUNT_CALLS.one(connection, upstream=upstream, most=20)
    return counts.finished >= ENOUGH and counts.called == 0


def last_call_ms(connection: Connection, upstream: str) -> int | None:
    """When the last callback arrived, among a hundred tasks; None if none of them called back."""
    return sql_health.LAST_CALL.first(connection, upstream=upstream, most=100)


class Delays(msgspec.Struct, frozen=True, kw_only=True):
    """How long callbacks took, from the task's end by the sender's clock to their arrival."""

    median: int
    p95: int


class CallbackHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How the callbacks about our newest finished tasks arrived.

    `tasks` have finished: `called` of them called back at all (`calls_back` is None while too few have finished), and
    `ended_by_callback` reported their end by a callback. `callbacks` arrived: `duplicates` had arrived before, and `out_of_order`
    after newer ones. `delay_ms` is None if payloads have no end time.
    """

    calls_back: bool | None
    tasks: int
    called: int
    ended_by_callback: int
    callbacks: int
    duplicates: int
    out_of_order: int
    delay_ms: Delays | None


def callbacks(connection: Connection, upstream: str, most: int = LAST) -> CallbackHealth:
    """Compute the health of an upstream's callbacks from our newest finished tasks."""
    counts = sql_health.COUNT_CALLS.one(connection, upstream=upstream, most=most)
    received = sql_health.RECEIVED.all(connection, upstream=upstream, most=most)
    known: set[tuple[str, str, int | None]] = set()
    duplicates = 0
    for callback in received:
        duplicates += (callback.task_id, callback.status, callback.progress) in known
        known.add((callback.task_id, callback.status, callback.progress))
    stale = sum(not callback.advanced for callback in received)
    return CallbackHealth(
        calls_back=None if counts.finished < ENOUGH else counts.called > 0,
        tasks=counts.finished,
        called=counts.called,
        ended_by_callback=counts.ended_by_callback,
        callbacks=len(received),
        duplicates=duplicates,
        out_of_order=max(0, stale - duplicates),
        delay_ms=_delays(sql_health.ENDS.all(connection, upstream=upstream, most=most)),
    )


def _delays(ends: Iterable[End]) -> Delays | None:
    tasks = ((kept_task(end.payload), end.received_at_ms) for end in ends)
    delays = sorted(at_ms - task.finish_time_ms for task, at_ms in tasks if task and task.finish_time_ms)
    if not delays:
        return None
    return Delays(median=delays[(len(delays) - 1) // 2], p95=delays[ceil(0.95 * len(delays)) - 1])
