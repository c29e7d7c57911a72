"""Compares a callback, and what a receiver staged because of it, with the upstream's own task. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from midjourney.lifecycle import Position, advance, position_of
from midjourney.requests import Action, decode_request
from midjourney.types import TERMINAL, Status, Task
from storage.records import Event, Staged


def may_be_behind(event: Event, task: Task) -> bool:
    """True if the upstream contradicts the callback with another status, which may change within a moment."""
    return task.status != event.status and bool(contradiction(event, task))


def contradiction(event: Event, task: Task | None) -> str:
    """How the upstream's task contradicts a callback, or "". A task that has moved on since does not."""
    if task is None:
        return "the upstream does not know this task"
    if task.action and event.action and task.action != event.action:
        return f"the callback says {event.action}, the upstream {task.action}"
    if task.status == event.status:
        return ""
    if event.status != Status.MODAL and not _is_behind(task, event):
        return ""
    return f"the callback says {event.status}, the upstream {task.status}"


def _is_behind(task: Task, event: Event) -> bool:
    """True if the upstream's task has not reached the state that the callback reports, or has ended in another one."""
    if task.is_finished:
        return event.status in TERMINAL
    claimed = Position(event.status, -1 if event.progress is None else event.progress)
    return advance(position_of(task), claimed) is not None


def unoffered(task: Task, staged: Sequence[Staged]) -> str:
    """Describe the first press of a button that the upstream's task does not have; "" if there is none."""
    offered = {button.custom_id for button in task.buttons}
    for submission in staged:
        request = decode_request(submission.request)
        if isinstance(request, Action) and request.task_id == task.id and request.custom_id not in offered:
            return f"the upstream's task has no button {request.custom_id}"
    return ""
