"""What is known of tickets: their submissions, tasks and payloads, read by a few statements for many tickets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import Connection

from midjourney.statuses import Status
from storage.events import event_log
from storage.records import MODAL_LOST, Submission, TaskRow, Ticket
from storage.tasks import rows as tasks
from storage.tickets import sql

BELIEVED_AFTER_MS = 60_000
"""An end that only a callback reported is shown after this time even if the upstream could not be asked about it."""


_Place = tuple[str, str]
"""An upstream and an id of a task there."""

_Pair = tuple[Ticket, Submission | None]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A ticket with its submission, its task and the task's payload, as far as there are any.

    `submission` is the answer to the modal, once there is one. `payload` is the newest one; of an ended task the one that the
    upstream vouches for. `answer` is the upstream's last answer to a submission that made no task, or a window. `is_believed`: the end of the
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
    """What is known of each of these tickets, in the same order. The number of statements does not depend on theirs."""
    submissions = _submissions(
        connection, {ticket.submission_id for ticket in tickets if ticket.submission_id}
    )
    pairs = [(ticket, submissions.get(ticket.submission_id)) for ticket in tickets]
    rows = _tasks(connection, pairs)
    payloads = _payloads(connection, rows.values())
    answers = _answers(connection, pairs, rows)
    return [
        _known(ticket, submission, rows.get(_place(ticket, submission)), payloads, answers, now_ms)
        for ticket, submission in pairs
    ]


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


def _tasks(connection: Connection, pairs: Iterable[_Pair]) -> dict[_Place, TaskRow]:
    """The tasks of tickets, by the account and the id under which each ticket knows its task."""
    rows: dict[_Place, TaskRow] = {}
    for upstream, ids in _by_upstream(_place(*pair) for pair in pairs).items():
        for task_id, row in tasks.find_named(connection, upstream, ids).items():
            rows[upstream, task_id] = row
    return rows


def _payloads(connection: Connection, rows: Iterable[TaskRow]) -> dict[_Place, bytes]:
    """The payload to show of each task: the newest, or of an ended task the newest that the upstream vouches for."""
    shown = [row for row in rows if row.status]
    payloads: dict[_Place, bytes] = {}
    for read, has_ended in ((event_log.newest_payloads, False), (event_log.latest_payloads, True)):
        places = ((row.upstream, row.id) for row in shown if (row.finished_at_ms is not None) is has_ended)
        for upstream, ids in _by_upstream(places).items():
            for task_id, payload in read(connection, upstream, ids).items():
                payloads[upstream, task_id] = payload
    return payloads


def _answers(
    connection: Connection, pairs: Iterable[_Pair], rows: Mapping[_Place, TaskRow]
) -> dict[str, bytes]:
    """The last answers to the submissions that made no task, by submission."""
    wanted = {
        submission.id
        for ticket, submission in pairs
        if submission is not None
        and submission.state in ("accepted", "needs_modal", "rejected", "dead")
        and not _is_shown(rows.get(_place(ticket, submission)))
    }
    return dict(sql.LAST_ANSWERS.all(connection, ids=sorted(wanted))) if wanted else {}


def _known(
    ticket: Ticket,
    submission: Submission | None,
    row: TaskRow | None,
    payloads: Mapping[_Place, bytes],
    answers: Mapping[str, bytes],
    now_ms: int,
) -> Known:
    if row is None or not row.status:
        answer = answers.get(submission.id, b"") if submission is not None else b""
        return Known(ticket=ticket, submission=submission, task=row, answer=answer)
    finished_ms = row.finished_at_ms
    return Known(
        ticket=ticket,
        submission=submission,
        task=row,
        payload=payloads.get((row.upstream, row.id), b""),
        answer=answers.get(submission.id, b"") if submission is not None else b"",
        is_believed=finished_ms is None or row.confirmed or now_ms - finished_ms > BELIEVED_AFTER_MS,
    )


def _is_shown(row: TaskRow | None) -> bool:
    """True if a task tells more than the answer to its submission. A window does not: its text, or why its answer was refused, is in the
    answer."""
    return row is not None and row.status not in ("", Status.MODAL)


def _by_upstream(places: Iterable[_Place]) -> dict[str, list[str]]:
    """The ids at each account, each once, without ""."""
    ids: dict[str, dict[str, None]] = {}
    for upstream, task_id in places:
        if task_id:
            ids.setdefault(upstream, {})[task_id] = None
    return {upstream: list(found) for upstream, found in ids.items()}


def _place(ticket: Ticket, submission: Submission | None) -> _Place:
    """The account that works on a ticket, and its id of the ticket's task; "" while there is none."""
    return submission.upstream if submission is not None else ticket.upstream, _task_id(ticket, submission)


def _task_id(ticket: Ticket, submission: Submission | None) -> str:
    """The upstream's id of a ticket's task; "" while there is none."""
    if submission is not None and submission.task_ids and submission.outcome != MODAL_LOST:
        return submission.task_ids[0]
    if submission is not None and submission.kind == "modal":
        return submission.parent_id
    return ticket.task_id
