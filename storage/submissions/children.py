"""The tasks that a submission made or found: their place in its chain, and their aliases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import Connection

from storage.records import Submission, TaskRow
from storage.submissions import sql
from storage.tasks import aliases
from storage.tasks import rows as tasks


def known(connection: Connection, submission_id: str) -> list[str]:
    """Ids of the tasks known to belong to a submission."""
    return [child.id for child in sql.CHILDREN.all(connection, submission_ids=[submission_id])]


def new(connection: Connection, submission: Submission) -> list[str]:
    """Ids of the tasks known to belong to a submission that it does not name yet. Without deleted modals: they prove nothing
    about the press that is to open the next one."""
    ids = sql.TASKS_BUT_LOST_MODALS.all(connection, submission_id=submission.id)
    return [task_id for task_id in ids if task_id not in submission.task_ids]


def other_name(connection: Connection, submission: Submission, task_id: str) -> str:
    """The id under which the only task of a submission is known already, or "": since the attempt began, the upstream has shown
    the submission's mark on an id other than `task_id`. A modal and the task of its answer count as two tasks."""
    if _may_have_two(submission):
        return ""
    return _other_name(submission, task_id, sql.CHILDREN.all(connection, submission_ids=[submission.id]))


def _may_have_two(submission: Submission) -> bool:
    return submission.kind == "modal" or submission.outcome == "needs_modal"


def _other_name(submission: Submission, task_id: str, known: Iterable[sql.Child]) -> str:
    since_ms = submission.started_at_ms or 0
    others = [
        child.id
        for child in known
        if child.submission_id == submission.id and child.created_at_ms >= since_ms and child.id != task_id
    ]
    return others[0] if len(others) == 1 else ""


class Made(msgspec.Struct, frozen=True):
    """The tasks that an answer to a submission named, and the status and action of these, if it shows them."""

    submission: Submission
    task_ids: tuple[str, ...]
    status: str = ""
    action: str = ""


def tie(connection: Connection, submission: Submission, task_id: str, now_ms: int) -> None:
    """Give a task that this submission made or found its place in the chain; its callback may have arrived before."""
    _tie(connection, [(Made(submission, (task_id,)), task_id)], now_ms)


def tie_all(connection: Connection, made: Sequence[Made], now_ms: int) -> None:
    """Give the tasks named in answers their places in their chains, in this order, each under the id by which it is stored."""
    made = [one for one in made if one.task_ids]
    if made:
        _tie(connection, _stored_names(connection, made), now_ms)


def _stored_names(connection: Connection, made: Sequence[Made]) -> list[tuple[Made, str]]:
    """Each task with the id under which it is stored: a relay may have called back before, with the id of the server behind it. Then
    both are one task, if the answer named no other."""
    alone = [
        one.submission.id for one in made if len(one.task_ids) == 1 and not _may_have_two(one.submission)
    ]
    known = sql.CHILDREN.all(connection, submission_ids=alone) if alone else []
    names: dict[tuple[str, str], str] = {}
    for upstream in {one.submission.upstream for one in made}:
        ids = {task_id for one in made if one.submission.upstream == upstream for task_id in one.task_ids}
        found = aliases.names(connection, upstream, ids)
        names |= {(upstream, name): task_id for name, task_id in found.items()}
    stored: list[tuple[Made, str]] = []
    for one in made:
        upstream = one.submission.upstream
        for task_id in one.task_ids:
            other = _other_name(one.submission, task_id, known) if one.submission.id in alone else ""
            if other:
                aliases.join(connection, upstream, task_id, other)
                names.setdefault((upstream, task_id), other)
            stored.append((one, other or names.get((upstream, task_id), task_id)))
    return stored


def _tie(connection: Connection, made: Sequence[tuple[Made, str]], now_ms: int) -> None:
    ids: dict[str, set[str]] = {}
    for one, task_id in made:
        ids.setdefault(one.submission.upstream, set()).add(task_id)
    rows = {
        (upstream, task_id): row
        for upstream in sorted(ids)
        for task_id, row in tasks.hold(connection, upstream, ids[upstream], now_ms).items()
    }
    for one, task_id in made:
        key = one.submission.upstream, task_id
        rows[key] = _tied(rows.get(key) or tasks.blank(*key, now_ms), one, now_ms)
    tasks.put(connection, *rows.values())


def _tied(row: TaskRow, made: Made, now_ms: int) -> TaskRow:
    if row.chain_id is None:
        row = placed(row, made.submission)
    elif row.submission_id is None:  # a modal that somebody else opened; we answered it, so its job is ours
        row = msgspec.structs.replace(row, submission_id=made.submission.id)
    return msgspec.structs.replace(
        row,
        status=row.status or made.status,
        action=row.action or made.action,
        ask_at_ms=row.ask_at_ms if _must_be_asked(row) else None,
        updated_at_ms=now_ms,
    )


def _must_be_asked(row: TaskRow) -> bool:
    """False if the upstream was to be polled only because nobody had named the task but a callback. True if it has ended, or if a
    callback came since that could not be stored."""
    if row.ask_at_ms is None:
        return False
    return row.finished_at_ms is not None or not row.status or row.ask_at_ms > row.updated_at_ms


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
