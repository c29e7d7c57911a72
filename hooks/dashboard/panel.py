"""The panel of a task: all its buttons with what became of each press, and its modal if it needs an answer."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dispatcher.plugins.context import modal_of
from dispatcher.plugins.open_modal import OpenModal
from dispatcher.policy.intent import key_of
from midjourney.buttons import Button
from midjourney.decode import kept_task
from midjourney.dialects import Dialect
from midjourney.presses import presses, with_buttons
from midjourney.requests import Action, Change, SimpleChange, decode_request
from midjourney.statuses import NO_STATUSES
from midjourney.types import Task
from storage.engine import Connection
from storage.events import event_log
from storage.reading import pages
from storage.reading.cards import loose_id
from storage.reading.ticket_pages import tickets_of_chain
from storage.records import Submission, TaskRow, Ticket
from storage.submissions import submission_queue
from storage.tasks import rows as tasks
from storage.tasks.chains import root_of

UNSUCCESSFUL = ("held", "refused", "rejected", "dead")
"""States of a submission that had no effect: its button counts as not pressed, its modal as not answered."""


class Press(msgspec.Struct, frozen=True, kw_only=True):
    """A button and its press: `made` is the submission that pressed it, None if nobody has tried. `wanted` identifies the button."""

    name: str
    wanted: str
    made: Submission | None

    @property
    def is_pressed(self) -> bool:
        """True if the press has succeeded or may yet succeed."""
        return self.made is not None and self.made.state not in UNSUCCESSFUL


class TaskPanel(msgspec.Struct, frozen=True, kw_only=True):
    """A task as its panel shows it. `tried` are presses that did not succeed. `modal` needs an answer; an `answer` beside it was
    given and had no effect. `tickets`: those that show this task, of all clients; `client`: the one whose order began the chain, or ""."""

    row: TaskRow
    task: Task
    buttons: tuple[Press, ...]
    tried: tuple[Submission, ...]
    modal: OpenModal | None
    answer: Submission | None
    parent: TaskRow | None
    made_by: Submission | None
    client: str
    tickets: tuple[Ticket, ...]

    @property
    def key(self) -> str:
        """The name of the task's node in the tree."""
        return loose_id(self.row)


def task_panel(
    connection: Connection, upstream: str, task_id: str, dialects: Mapping[str, Dialect]
) -> TaskPanel | None:
    """Return a task with its buttons, and its modal if it needs an answer; None if the task is unknown."""
    row = tasks.find(connection, upstream, task_id)
    dialect = dialects.get(upstream)
    if row is None:
        return None
    statuses = dialect.statuses if dialect is not None else NO_STATUSES
    task = kept_task(event_log.latest_payload(connection, upstream, task_id), statuses) or _task_of_row(row)
    if dialect is not None:
        task = with_buttons(task, dialect)
    asked_for = pages.submissions_of_parent(connection, upstream, task_id, most=200)
    made_by = submission_queue.find(connection, row.submission_id) if row.submission_id else None
    parent = tasks.find(connection, upstream, row.parent_id) if row.parent_id else None
    made = _made(upstream, asked_for)
    answer = next((submission for submission in asked_for if submission.kind == "modal"), None)
    modal = None
    if row.status == "MODAL" and (answer is None or answer.state in UNSUCCESSFUL):
        opened = pages.event_page(
            connection,
            most=1,
            equal={"upstream": upstream, "task_id": task_id, "signal": "submission.needs_modal"},
        )
        modal = modal_of(
            task,
            answer=opened[0].payload if opened and opened[0].source == "answer" else b"",
            parent=event_log.latest_payload(connection, upstream, row.parent_id) if row.parent_id else b"",
            submission=made_by,
        )
    return TaskPanel(
        row=row,
        task=task,
        buttons=_buttons(task, dialect, made, upstream),
        tried=tuple(submission for submission in made.values() if submission.state in ("rejected", "dead")),
        modal=modal,
        answer=answer,
        parent=parent,
        made_by=made_by,
        client=root_of(connection, row.chain_id).client if row.chain_id is not None else "",
        tickets=_tickets(connection, row),
    )


def _tickets(connection: Connection, row: TaskRow) -> tuple[Ticket, ...]:
    """Return the tickets that show a task: those of its submission, and those that got it by an answer to a modal."""
    of_chain = tickets_of_chain(connection, row.chain_id) if row.chain_id is not None else ()
    return tuple(
        ticket
        for ticket in of_chain
        if ticket.submission_id == row.submission_id
        or (ticket.upstream, ticket.task_id) == (row.upstream, row.id)
    )


def _task_of_row(row: TaskRow) -> Task:
    """Return a task of which only the upstream's answer is known, or whose payload cannot be decoded."""
    return Task(id=row.id, status=row.status, action=row.action, prompt=row.prompt, parent_id=row.parent_id)


def _buttons(
    task: Task, dialect: Dialect | None, made: Mapping[str, Submission], upstream: str
) -> tuple[Press, ...]:
    """Return all buttons that can be pressed, each with the submission that pressed it."""
    if dialect is None:
        return ()
    return tuple(
        Press(name=button.name, wanted=_wanted(button), made=made.get(key_of(upstream, pressing[0].request)))
        for button in task.buttons
        if (pressing := presses(task, _wanted(button), dialect))
    )


def _made(upstream: str, asked_for: list[Submission]) -> dict[str, Submission]:
    """Return the submissions that pressed a task's buttons, by the key of the intent, whatever kind of request was used. If there
    are several for one button (`again`), take the newest successful one."""
    made: dict[str, Submission] = {}
    # The sort is stable, so within each group the newest stays first.
    for submission in sorted(asked_for, key=lambda submission: submission.state in UNSUCCESSFUL):
        request = decode_request(submission.request)
        if isinstance(request, Action | Change | SimpleChange):
            made.setdefault(key_of(upstream, request), submission)
    return made


def _wanted(button: Button) -> str:
    return button.custom_id or button.name
