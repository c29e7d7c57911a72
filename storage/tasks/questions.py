"""Schedules polls about tasks whose callbacks could not be stored."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from storage.records import TaskRow
from storage.tasks import rows as task_rows
from storage.tasks import sql


def _blank(upstream: str, task_id: str, now_ms: int) -> TaskRow:
    """The row of a task that only a sender named: if the upstream does not know it, it was invented, not lost."""
    return msgspec.structs.replace(task_rows.blank(upstream, task_id, now_ms), confirmed=False)


def ask_soon(
    connection: Connection, upstream: str, *, submission_id: str, task_id: str, now_ms: int
) -> set[str]:
    """Poll soon about the tasks of a submission; if it has none, or there is no submission, about this task.

    An unknown task gets a blank row. Returns the ids of the tasks to poll.
    """
    ids: set[str] = set()
    if submission_id:
        ids = set(sql.TASKS_OF_SUBMISSION.all(connection, upstream=upstream, submission_id=submission_id))
    if not ids and task_id:
        ids = {task_id}
    if ids:
        known = task_rows.hold(connection, upstream, ids, now_ms)
        blank = [_blank(upstream, unknown_id, now_ms) for unknown_id in sorted(ids - known.keys())]
        if blank:
            task_rows.put(connection, *blank)
        sql.ASK_ABOUT(connection, upstream=upstream, ids=sorted(ids), now_ms=now_ms)
    return ids
