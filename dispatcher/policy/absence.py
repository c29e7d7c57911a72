"""Decides from an upstream's list whether an uncertain submission can still be a running task there. Pure.

This needs less evidence than deciding whether the upstream ever accepted it (submission_evidence.py), because a mistake
costs only an answer "queue full", not a second payment. So a list without marks can free a place too, and so can the answer to a
modal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from midjourney.types import Task
from storage.records import TaskRow

LAG_MS = 60_000
"""After this time a list shows a request even if it lags: three times the longest lag ever seen."""

CLOCKS_DIFFER_MS = 600_000
"""By how much an upstream's clock may be behind ours."""


def is_absent(
    tasks: Sequence[Task], rows: Mapping[str, TaskRow], *, began_ms: int, ended_ms: int, asked_ms: int
) -> bool:
    """True if no running task in the list can belong to the submission whose request began and ended at these times.

    `rows` are the tasks in the list that the database knows. The list must be fresh: it shows a task of ours that is newer
    than the request, or we asked for it long after the request and it shows any task. Every unfinished task in it must belong
    to another submission, or have begun before the request.
    """
    newer = any(row.submission_id and row.created_at_ms >= ended_ms for row in rows.values())
    if not newer and not (tasks and asked_ms - ended_ms >= LAG_MS):
        return False
    return not any(_may_be_it(task, rows.get(task.id), began_ms) for task in tasks)


def _may_be_it(task: Task, row: TaskRow | None, began_ms: int) -> bool:
    if task.is_finished or (row is not None and row.submission_id):
        return False
    if row is not None:
        return row.created_at_ms >= began_ms
    return task.submit_time_ms is None or task.submit_time_ms >= began_ms - CLOCKS_DIFFER_MS
