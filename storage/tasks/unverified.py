"""Unverified callbacks about a task, which the upstream's own report confirms or refutes."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from midjourney.bodies import parsed
from midjourney.types import Task, digest_of
from storage.events import event_log
from storage.records import Event, TaskRow
from storage.tasks import rows as tasks
from storage.tasks import sql


def confirm_if_same(connection: Connection, row: TaskRow, task: Task, now_ms: int) -> bool:
    """Compare the stored payload of a task with the upstream's report; True if it need not be stored again.

    The callback that reported the same status is confirmed. If its payload differs, it is confirmed too, but the upstream's
    payload replaces it; if it names another action, it is refuted, because the receivers of that action got it.
    """
    callback = sql.NEWEST_UNVERIFIED.first(
        connection, upstream=row.upstream, task_id=row.id, status=row.status
    )
    if callback is not None:
        if task.action and callback.action and callback.action != task.action:
            sql.REFUTE(connection, id=callback.id)
            reason = f"the callback says {callback.action}, the upstream {task.action}"
            _note(connection, row.upstream, row.id, callback.id, reason, now_ms)
            return False
        is_same = _says_the_same(callback.payload, task.raw)
        sql.CONFIRM(connection, id=callback.id, is_shown=is_same)
        return is_same or not task.is_finished
    return not task.is_finished or digest_of(task) == row.shown


def _says_the_same(payload: bytes, report: bytes) -> bool:
    return payload == report or parsed(payload) == parsed(report)


def refute_status(connection: Connection, row: TaskRow, reason: str, now_ms: int) -> None:
    """Refute the callbacks that reported the row's status, and append an event with the reason. Their bodies are kept."""
    callback = sql.NEWEST_UNVERIFIED.first(
        connection, upstream=row.upstream, task_id=row.id, status=row.status
    )
    if callback is None:
        return
    sql.REFUTE_STATUS(connection, upstream=row.upstream, task_id=row.id, status=row.status)
    _note(connection, row.upstream, row.id, callback.id, reason, now_ms)


def without_status(row: TaskRow) -> TaskRow:
    """The row without a status, as if nothing was reported about its task."""
    return msgspec.structs.replace(row, status="", progress=-1, finished_at_ms=None, shown="")


def refute_event(connection: Connection, event: Event, reason: str, now_ms: int) -> None:
    """Refute one callback that the upstream contradicts. Its task loses the status, unless something else has changed it since."""
    row = tasks.held(connection, event.upstream, event.task_id)
    if not sql.REFUTE(connection, id=event.id):
        return  # refuted before, for another receiver
    _note(connection, event.upstream, event.task_id, event.id, reason, now_ms)
    if row is not None and not row.confirmed and row.status == event.status:
        tasks.put(connection, without_status(row))


def _note(
    connection: Connection, upstream: str, task_id: str, event_id: int, reason: str, now_ms: int
) -> None:
    event_log.append(
        connection,
        event_log.fact(
            upstream=upstream,
            task_id=task_id,
            signal=None,
            source="internal",
            status="refuted",
            detail=f"event {event_id} is refuted: {reason}",
            now_ms=now_ms,
        ),
    )
