"""The tasks that a submission made or found: their place in its chain, and their aliases."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from storage.records import Submission, TaskRow
from storage.submissions import sql
from storage.tasks import aliases
from storage.tasks import rows as tasks


def known(connection: Connection, submission_id: str, *, since_ms: int = 0) -> list[str]:
    """Ids of the tasks known to belong to a submission, of those first seen since `since_ms`."""
    return sql.TASKS_SINCE.all(connection, submission_id=submission_id, since_ms=since_ms)


def new(connection: Connection, submission: Submission) -> list[str]:
    """Ids of the tasks known to belong to a submission that it does not name yet. Without deleted modals: they prove nothing
    about the press that is to open the next one."""
    ids = sql.TASKS_BUT_LOST_MODALS.all(connection, submission_id=submission.id)
    return [task_id for task_id in ids if task_id not in submission.task_ids]


def other_name(connection: Connection, submission: Submission, task_id: str) -> str:
    """The id under which the only task of a submission is known already, or "": since the attempt began, the upstream has shown
    the submission's mark on an id other than `task_id`. A modal and the task of its answer count as two tasks."""
    if submission.kind == "modal" or submission.outcome == "needs_modal":
        return ""
    since_ms = submission.started_at_ms or 0
    others = [name for name in known(connection, submission.id, since_ms=since_ms) if name != task_id]
    return others[0] if len(others) == 1 else ""


def joined(connection: Connection, submission: Submission, task_id: str, *, is_only: bool) -> str:
    """The id under which a task named in an answer is stored: a relay may have called back before, with the id of the server
    behind it.

    `is_only`: the answer named no other task.
    """
    other = other_name(connection, submission, task_id) if is_only else ""
    if other:
        aliases.join(connection, submission.upstream, task_id, other)
        return other
    return aliases.names(connection, submission.upstream, [task_id]).get(task_id, task_id)


def tie(
    connection: Connection,
    submission: Submission,
    task_id: str,
    now_ms: int,
    *,
    status: str = "",
    action: str = "",
) -> None:
    """Give a task that this submission made or found its place in the chain; its callback may have arrived before."""
    held = tasks.hold(connection, submission.upstream, [task_id], now_ms)
    row = held.get(task_id) or tasks.blank(submission.upstream, task_id, now_ms)
    if row.chain_id is None:
        row = placed(row, submission)
    elif row.submission_id is None:  # a modal that somebody else opened; we answered it, so its job is ours
        row = msgspec.structs.replace(row, submission_id=submission.id)
    tasks.put(
        connection,
        msgspec.structs.replace(
            row,
            status=row.status or status,
            action=row.action or action,
            ask_at_ms=row.ask_at_ms if row.finished_at_ms is not None else None,
            updated_at_ms=now_ms,
        ),
    )


def placed(row: TaskRow, submission: Submission) -> TaskRow:
    """The row with its place in the chain of the submission that made or answered the task. An answered modal keeps its id and
    its parent."""
    return msgspec.structs.replace(
        row,
        chain_id=submission.chain_id,
        submission_id=submission.id,
        parent_id=row.parent_id if row.id == submission.parent_id else submission.parent_id,
        depth=submission.depth,
    )
