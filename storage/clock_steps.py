"""Moves the times of unfinished work when somebody sets the clock: what is due in three days stays due in three days.

It moves the times of unfinished work (when it is due, since when it waits, until when an upstream is on hold) and the times
that rate limits look back on. Finished work keeps its times.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from storage import settings
from storage import sql_operations as sql
from storage.clock import STEP_MS, Base
from storage.duty.states import DELIVERY, SUBMISSION

LOOKED_BACK_MS = 3_600_000
"""How far limits look back: they count the submissions of the last hour."""

IMPOSSIBLE_MS = 60_000
"""A time this far in the future was written by another clock. A smaller difference can be the skew of two machines."""

_BASE = "clock"
_OPEN = {"open_submissions": list(SUBMISSION.open), "open_deliveries": list(DELIVERY.open)}
"""Parameters: the states of unfinished submissions and deliveries."""

_SHIFTS = (
    sql.SHIFT_ATTEMPTS,
    sql.SHIFT_SUBMISSIONS,
    sql.SHIFT_DELIVERIES,
    sql.SHIFT_TASKS,
    sql.SHIFT_EVENTS,
    sql.SHIFT_UPSTREAMS,
    sql.SHIFT_APPROVALS,
)


def shift(connection: Connection, by_ms: int, was_ms: int) -> None:
    """Move the times of all unfinished work by `by_ms`; `was_ms` is the time before the step."""
    for statement in _SHIFTS:
        statement(connection, by_ms=by_ms, since_ms=was_ms - LOOKED_BACK_MS, **_OPEN)
    _meet(connection, was_ms + by_ms, by_ms)


_MENDS = (
    sql.MEND_SUBMISSIONS,
    sql.MEND_DELIVERIES,
    sql.MEND_OPEN_TASKS,
    sql.MEND_APPROVALS,
    sql.MEND_TASKS_TO_ASK_ABOUT,  # a row that the previous statement corrected no longer matches
)


def mend(connection: Connection, now_ms: int) -> int:
    """Correct times that another clock wrote; returns the number of rows.

    A row is written when its delay begins. A row that was written in the future was written by another clock: it is moved as
    if it had been written now, with the same delay.
    """
    latest_ms = now_ms + IMPOSSIBLE_MS
    mended = sum(statement(connection, now_ms=now_ms, latest_ms=latest_ms, **_OPEN) for statement in _MENDS)
    _meet(connection, now_ms, 0)
    return mended


_IMPOSSIBLE = (
    sql.IMPOSSIBLE_SUBMISSION,
    sql.IMPOSSIBLE_DELIVERY,
    sql.IMPOSSIBLE_OPEN_TASK,
    sql.IMPOSSIBLE_TASK_TO_ASK_ABOUT,
)


def is_any_impossible(connection: Connection, now_ms: int) -> bool:
    """True if any unfinished work was written by another clock."""
    latest_ms = now_ms + IMPOSSIBLE_MS
    return any(query.first(connection, latest_ms=latest_ms, **_OPEN) is not None for query in _IMPOSSIBLE)


_NEWEST = (
    sql.NEWEST_SUBMISSION_MS,
    sql.NEWEST_DELIVERY_MS,
    sql.NEWEST_OPEN_TASK_MS,
    sql.NEWEST_TASK_TO_ASK_ABOUT_MS,
    sql.NEWEST_EVENT_MS,
)


def newest_ms(connection: Connection) -> int:
    """The time of the last write, as far as unfinished work shows it; 0 if there is none."""
    return max(query.first(connection, **_OPEN) or 0 for query in _NEWEST)


def _meet(connection: Connection, now_ms: int, by_ms: int) -> None:
    """Correct the times at which upstreams were first met: none may lie in the future, or new ends would not be news."""
    for stored in sql.MEETINGS.all(connection):
        if int(stored.value) > now_ms:
            settings.keep(connection, stored.key, str(min(now_ms, int(stored.value) + by_ms)))


def stored_base(connection: Connection) -> Base | None:
    """The base in which this file's times are written; None if it is not stored."""
    encoded = settings.value(connection, _BASE)
    return None if encoded is None else msgspec.json.decode(encoded, type=Base)


def keep_base(connection: Connection, base: Base) -> None:
    """Store the base in which times are written from now on."""
    settings.keep(connection, _BASE, msgspec.json.encode(base).decode())


def adopt(connection: Connection, base: Base, now_ms: int) -> int:
    """Switch the file to this base, in which it is `now_ms`, and move unfinished work; returns by how many milliseconds."""
    step_ms = step_since(connection, base.boot_id, base.base_ms, now_ms)
    if step_ms:
        shift(connection, step_ms, now_ms - step_ms)
    keep_base(connection, base)
    return step_ms


def step_since(connection: Connection, boot_id: str, base_ms: int, now_ms: int) -> int:
    """By how many milliseconds the clock was set since the file's times were written, as far as that can be known.

    Within one boot the step is known exactly. Across boots only a step back shows: the last write then lies in the future,
    by at most the size of the step.
    """
    stored = stored_base(connection)
    if stored is not None and stored.boot_id == boot_id:
        step_ms = base_ms - stored.base_ms
        return step_ms if abs(step_ms) >= STEP_MS else 0
    ahead_ms = newest_ms(connection) - now_ms
    return -ahead_ms if ahead_ms > IMPOSSIBLE_MS else 0
