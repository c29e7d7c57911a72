"""Deletes, in small batches, the progress events of ended tasks, events about no task, and tasks without a chain.

One transaction reads at most a few times as many rows as its batch size, however large the tables or a task are. Whole
chains are deleted by storage/ended_chains.py. storage/events/quarantine.py trims the quarantine.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from storage import sql_pruning as sql
from storage.driver.locks import many_writers
from storage.sql_pruning import LooseTask
from storage.tasks import rows as tasks


class Cursor(msgspec.Struct, frozen=True):
    """The position of a pass: age and id of the last row examined. A pass begins at the default."""

    age_ms: int = -1
    id: str = ""


def thin(connection: Connection, after: int, before_ms: int, most: int) -> tuple[int, int]:
    """Among the next `most` events, drop the progress events of ended tasks; returns the id of the last event old enough to
    be examined (`after` if none was), and the number of events dropped.

    It keeps the events that changed a task's status, answers, and everything that made a rule fire or waits for a receiver.
    """
    following = sql.FOLLOWING_EVENTS.all(connection, after=after, most=most)
    rows = [row for row in following if row.received_at_ms < before_ms]
    idle = [
        row.id
        for row in rows
        if row.finished_at_ms is not None
        and row.source in ("callback", "reconcile")
        and (row.signal == "task.progressed" or not row.advanced)
    ]
    gone = sql.DROPPABLE.all(connection, ids=idle) if idle else []
    drop_events(connection, gone)
    return (rows[-1].id if rows else after), len(gone)


def drop_alone(connection: Connection, after: int, before_ms: int, most: int) -> tuple[int, int]:
    """Among the next `most` events, drop those about no task and no submission, such as the times of rules that run by the clock; returns
    the same as `thin`. What waits for a receiver, and dead letters, stay."""
    following = sql.FOLLOWING_EVENTS.all(connection, after=after, most=most)
    rows = [row for row in following if row.received_at_ms < before_ms]
    alone = [row.id for row in rows if not row.task_id and not row.submission_id]
    gone = sql.DONE_WITH.all(connection, ids=alone) if alone else []
    drop_events(connection, gone)
    return (rows[-1].id if rows else after), len(gone)


def drop_tasks(
    connection: Connection, cursor: Cursor, before_ms: int, most: int
) -> tuple[Cursor | None, int]:
    """Drop old tasks without a chain, which no receiver ever got, until about `most` rows are read; returns where to continue
    (None at the end), and the number of tasks dropped."""
    rows = sql.OLD_LOOSE_TASKS.all(
        connection, before_ms=before_ms, age_ms=cursor.age_ms, after=cursor.id, most=most
    )
    gone, read = 0, 0
    for row in rows:
        if read >= most:
            return cursor, gone
        if _is_over(connection, row, before_ms):
            its_events = sql.EVENTS_OF_TASK.all(
                connection, upstream=row.upstream, task_id=row.id, most=most + 1
            )
            drop_events(connection, its_events[:most])
            read += len(its_events) + 1
            if len(its_events) > most:
                return cursor, gone  # the next call continues with this task
            tasks.drop(connection, row.upstream, row.id)
            gone += 1
        cursor = Cursor(row.created_at_ms, row.id)
    return (cursor if rows else None), gone


def _is_over(connection: Connection, row: LooseTask, before_ms: int) -> bool:
    """True if nothing has happened to a task without a chain since `before_ms`, and no client waits for it. Locks the task on PostgreSQL."""
    if row.submission_id is not None or row.updated_at_ms >= before_ms:
        return False
    if sql.OPEN_TICKET_OF_TASK.first(connection, upstream=row.upstream, task_id=row.id) is not None:
        return False
    if not many_writers(connection):
        return True
    held = tasks.held(connection, row.upstream, row.id)  # a callback may have arrived in the meantime
    return held is not None and held.chain_id is None and held.updated_at_ms < before_ms


def drop_events(connection: Connection, event_ids: list[int]) -> None:
    """Drop events and their deliveries."""
    if event_ids:
        sql.DROP_DELIVERIES(connection, ids=event_ids)
        sql.DROP_EVENTS(connection, ids=event_ids)
