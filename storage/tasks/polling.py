"""Tasks to poll the upstream about: those that have not ended, and those whose end is doubtful."""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from sqlalchemy import Connection

from storage.driver.locks import many_writers
from storage.events import event_log
from storage.records import TaskRow
from storage.tasks import rows as task_rows
from storage.tasks import sql


def due(connection: Connection, upstream: str, now_ms: int, most: int) -> list[TaskRow]:
    """Tasks whose `ask_at_ms` has come, although they have ended or may be invented."""
    return sql.TO_ASK_ABOUT.all(connection, upstream=upstream, now_ms=now_ms, most=most)


def silent(connection: Connection, upstream: str, silent_since_ms: int, most: int) -> list[TaskRow]:
    """Open tasks without any report since `silent_since_ms`; never polled or polled least recently come first."""
    return sql.SILENT_TASKS.all(connection, upstream=upstream, silent_since_ms=silent_since_ms, most=most)


AGAIN_MS = 10_000
"""After this time a poll without an answer is repeated."""


def record_poll(connection: Connection, upstream: str, task_ids: Collection[str], now_ms: int) -> None:
    """Record that the upstream was polled about these tasks."""
    if many_writers(connection):
        task_rows.held_all(connection, upstream, task_ids)  # locks them in the same order as callbacks
    ids = list(task_ids)
    sql.RECORD_LOOK(connection, upstream=upstream, ids=ids, now_ms=now_ms)
    sql.PUT_OFF_QUESTION(connection, upstream=upstream, ids=ids, again_ms=now_ms + AGAIN_MS)


LOST = "LOST"
"""Status of a task that its upstream no longer knows."""

REFUTED = "REFUTED"
"""Status of a task that only callbacks named, and that its upstream does not know."""

LOST_AGAIN_MS = 300_000
LOST_FOR_MS = 172_800_000
"""A lost task is polled for two days, less and less often, because restarted servers find their tasks again."""


def record_miss(
    connection: Connection, row: TaskRow, *, lost_after: int, lost_after_ms: int, now_ms: int
) -> bool:
    """Record that the upstream did not know a task; True if it is lost now, which gives the signal task.lost.

    Not for tasks that only callbacks named: those are refuted instead (storage/tasks/believe.py).
    """
    current = task_rows.held(connection, row.upstream, row.id)
    if current is None or current.updated_at_ms != row.updated_at_ms:
        return False  # a report about it arrived in the meantime
    if current.status == LOST:
        _ask_later(connection, current, now_ms)
        return False
    if current.finished_at_ms is not None:
        return False
    lost = current.misses + 1 >= lost_after and now_ms - current.created_at_ms >= lost_after_ms
    task_rows.put(
        connection,
        msgspec.structs.replace(
            current,
            misses=current.misses + 1,
            status=LOST if lost else current.status,
            updated_at_ms=now_ms if lost else current.updated_at_ms,
            finished_at_ms=now_ms if lost else None,
            ask_at_ms=now_ms + LOST_AGAIN_MS if lost else None,
        ),
    )
    if lost:
        event_log.append(
            connection,
            event_log.fact(
                upstream=row.upstream,
                task_id=row.id,
                signal="task.lost",
                source="reconcile",
                action=row.action,
                status=LOST,
                detail=f"the upstream did not know it {current.misses + 1} times in a row",
                now_ms=now_ms,
            ),
        )
    return lost


def _ask_later(connection: Connection, row: TaskRow, now_ms: int) -> None:
    """Put off the next poll about a task that is still lost, for as long as it has been lost."""
    lost_for_ms = now_ms - (row.finished_at_ms or now_ms)
    again_ms = now_ms + max(LOST_AGAIN_MS, lost_for_ms) if lost_for_ms < LOST_FOR_MS else None
    task_rows.put(connection, msgspec.structs.replace(row, ask_at_ms=again_ms))
