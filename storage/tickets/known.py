"""What is known of tickets: their submissions, tasks and payloads, read by a few statements for many tickets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import Connection

from storage.events import event_log
from storage.records import MODAL_LOST, Submission, TaskRow, Ticket
from storage.tasks import rows as tasks
from storage.tickets import sql

BELIEVED_AFTER_MS = 60_000
"""An end that only a callback reported is shown after this time even if the upstream could not be asked about it."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A ticket with its submission, its task and the task's payload, as far as there are any.

    `submission` is the answer to the modal, once there is one. `payload` is the newest one; of an ended task the one that the
    upstream vouches for. `answer` is the upstream's last answer to a submission that made no task. `is_believed`: the end of the
    task is more than a callback's word.
    """

    ticket: Ticket
    submission: Submission | None = None
    task: TaskRow | None = None
    payload: bytes = b""
    answer: bytes = b""
    is_believed: bool = True

    @property
    def upstream(self) -> str:
        """The account that works on it."""
        return self.submission.upstream if self.submission is not None else self.ticket.upstream


def known(connection: Connection, tickets: Sequence[Ticket], now_ms: int) -> list[Known]:
    """What is known of each of these tickets, in the same order."""
    submissions = _submissions(
        connection, {ticket.submission_id for ticket in tickets if ticket.submission_id}
    )
    return [_known(connection, ticket, submissions.get(ticket.submission_id), now_ms) for ticket in tickets]


def _submissions(connection: Connection, ids: Iterable[str]) -> dict[str, Submission]:
    """By the submission of a ticket: itself, or the answer to the modal that it opened."""
    wanted = sorted(ids)
    if not wanted:
        return {}
    found = {row.id: row for row in sql.SUBMISSIONS.all(connection, ids=wanted)}
    opened = [row.id for row in found.values() if row.kind != "modal" and row.outcome == "needs_modal"]
    if not opened:
        return found
    answers = dict(sql.ANSWERS_TO_MODALS.all(connection, ids=opened))
    rows = {row.id: row for row in sql.SUBMISSIONS.all(connection, ids=sorted(answers.values()))}
    return found | {opener: rows[answer] for opener, answer in answers.items() if answer in rows}


def _known(connection: Connection, ticket: Ticket, submission: Submission | None, now_ms: int) -> Known:
    task_id = _task_id(ticket, submission)
    upstream = submission.upstream if submission is not None else ticket.upstream
    row = tasks.find(connection, upstream, task_id) if task_id else None
    if row is None or not row.status:
        answer = (
            last_answer(connection, submission.id)
            if submission is not None and _needs_answer(submission)
            else b""
        )
        return Known(ticket=ticket, submission=submission, task=row, answer=answer)
    if row.finished_at_ms is None:
        payload = event_log.latest_payload(connection, upstream, row.id)
        return Known(ticket=ticket, submission=submission, task=row, payload=payload)
    payload, _ = event_log.latest(connection, upstream, row.id)
    is_believed = row.confirmed or now_ms - row.finished_at_ms > BELIEVED_AFTER_MS
    return Known(ticket=ticket, submission=submission, task=row, payload=payload, is_believed=is_believed)


def _task_id(ticket: Ticket, submission: Submission | None) -> str:
    """The upstream's id of a ticket's task; "" while there is none."""
    if submission is not None and submission.task_ids and submission.outcome != MODAL_LOST:
        return submission.task_ids[0]
    if submission is not None and submission.kind == "modal":
        return submission.parent_id
    return ticket.task_id


def _needs_answer(submission: Submission) -> bool:
    return submission.state in ("accepted", "needs_modal", "rejected", "dead")


def last_answer(connection: Connection, submission_id: str) -> bytes:
    """The upstream's last answer to a submission, or b""."""
    return sql.LAST_ANSWER.first(connection, id=submission_id) or b""
