"""A task as its panel shows it: with all its buttons and what became of them, and its window where it waits for one."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dispatcher.chain import Window
from dispatcher.context import window_of
from dispatcher.intent import key_of
from midjourney.buttons import Button
from midjourney.decode import kept_task
from midjourney.dialects import Dialect
from midjourney.presses import presses, with_buttons
from midjourney.requests import Action, Change, SimpleChange, decode_request
from midjourney.types import Task
from storage import events, queries, submissions, tasks
from storage.cards import loose_id
from storage.engine import Connection
from storage.records import Submission, TaskRow

UNDONE = ("refused", "rejected", "dead")
"""States of a submission that came to nothing: its button is not pressed, its window not answered."""


class Press(msgspec.Struct, frozen=True, kw_only=True):
    """A button and what became of it: `made` is the submission that was to press it, None where nobody has tried."""

    name: str
    wanted: str
    made: Submission | None

    @property
    def is_pressed(self) -> bool:
        """Whether that came, or may yet come, to something."""
        return self.made is not None and self.made.state not in UNDONE


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A task as its panel shows it. `tried` are presses that did not succeed. `window` waits for an answer; one with an
    `answer` got that, and it came to nothing."""

    row: TaskRow
    task: Task
    buttons: tuple[Press, ...]
    tried: tuple[Submission, ...]
    window: Window | None
    answer: Submission | None
    parent: TaskRow | None
    made_by: Submission | None

    @property
    def key(self) -> str:
        """The name of its node in the tree."""
        return loose_id(self.row)


def seen(connection: Connection, upstream: str, task_id: str, dialects: Mapping[str, Dialect]) -> Seen | None:
    """A task with its buttons, and its window where it waits for an answer; None when it is not known."""
    row = tasks.find(connection, upstream, task_id)
    dialect = dialects.get(upstream)
    if row is None:
        return None
    task = kept_task(events.latest_payload(connection, upstream, task_id)) or _unseen(row)
    if dialect is not None:
        task = with_buttons(task, dialect)
    asked_for = queries.submissions_of_parent(connection, upstream, task_id, most=200)
    made_by = submissions.find(connection, row.submission_id) if row.submission_id else None
    parent = tasks.find(connection, upstream, row.parent_id) if row.parent_id else None
    made = _made(upstream, asked_for)
    answer = next((one for one in asked_for if one.kind == "modal"), None)
    window = None
    if row.status == "MODAL" and (answer is None or answer.state in UNDONE):
        opened = queries.event_page(
            connection,
            most=1,
            equal={"upstream": upstream, "task_id": task_id, "signal": "submission.needs_modal"},
        )
        window = window_of(
            task,
            answer=opened[0].payload if opened and opened[0].source == "answer" else b"",
            parent=events.latest_payload(connection, upstream, row.parent_id) if row.parent_id else b"",
            submission=made_by,
        )
    return Seen(
        row=row,
        task=task,
        buttons=_buttons(task, dialect, made, upstream),
        tried=tuple(one for one in made.values() if one.state in ("rejected", "dead")),
        window=window,
        answer=answer,
        parent=parent,
        made_by=made_by,
    )


def _unseen(row: TaskRow) -> Task:
    """A task that only an answer has told of, or whose payload cannot be read."""
    return Task(id=row.id, status=row.status, action=row.action, prompt=row.prompt, parent_id=row.parent_id)


def _buttons(
    task: Task, dialect: Dialect | None, made: Mapping[str, Submission], upstream: str
) -> tuple[Press, ...]:
    """All buttons that can be pressed, with the submission that pressed each."""
    if dialect is None:
        return ()
    return tuple(
        Press(name=button.name, wanted=_wanted(button), made=made.get(key_of(upstream, pressing[0].request)))
        for button in task.buttons
        if (pressing := presses(task, _wanted(button), dialect))
    )


def _made(upstream: str, asked_for: list[Submission]) -> dict[str, Submission]:
    """What pressed the buttons of a task, by the key of the intent, whatever words it was asked for in. Of several for
    one button (`again`) the newest that came to something."""
    made: dict[str, Submission] = {}
    for one in sorted(asked_for, key=lambda one: one.state in UNDONE):  # newest first, as they are
        request = decode_request(one.request)
        if isinstance(request, Action | Change | SimpleChange):
            made.setdefault(key_of(upstream, request), one)
    return made


def _wanted(button: Button) -> str:
    return button.custom_id or button.name
