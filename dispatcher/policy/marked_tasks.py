"""Recognises our own submissions in the tasks that an upstream shows. Pure: a list and our secrets in, values out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import msgspec

from dispatcher.policy.intent import key_of, thing_of
from midjourney.buttons import Button
from midjourney.dialects import Dialect
from midjourney.errors import InvalidRequest
from midjourney.presses import label_of, lane_of
from midjourney.requests import (
    Action,
    Imagine,
    Modal,
    Request,
    SimpleChange,
    as_change,
    encode_request,
    kind_of,
)
from midjourney.types import Status, Task
from storage.records import Staged
from storage.submissions.adoption import MarkedTask
from storage.tasks import marks

ASKED_BY = "restored"

MOST_REPEATS = 20
"""The most deliberate repetitions of one press that are distinguished."""

OwnHook = Callable[[str, str, str], bool]
"""Returns True if a token belongs to the hook of a submission: (upstream, token, submission id)."""

_HOOK = re.compile(
    rb"(?:/|%2F)notify(?:\\?/|%2F)([A-Za-z0-9_-]{24})(?:\\?/|%2F)([0-9a-f]{24})(?![0-9a-f])", re.IGNORECASE
)
"""A submission's hook, wherever a payload echoes it: unchanged, with slashes escaped (PHP), or percent-encoded in another URL."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What identifies our own submissions at one upstream."""

    upstream: str
    dialect: Dialect
    secret: str
    is_own_hook: OwnHook


def found_in(tasks: Iterable[Task], known: Known, mark: str = "") -> list[MarkedTask]:
    """Find the tasks that carry a mark of ours, each with its submission as far as the task shows it. `mark`: their mark, if it
    is already known."""
    marked = [(task, mark or mark_of(task, known)) for task in tasks]
    return [
        MarkedTask(mark=mark, task=task, staged=_asked(task, mark, known)) for task, mark in marked if mark
    ]


def mark_of(task: Task, known: Known) -> str:
    """Our mark on a task, or "". A mark can also be from another installation: it is ours if it was derived from this database's
    secret, or is part of a hook URL of ours."""
    in_state = marks.mark_in_state(task.state)
    in_hooks = [
        mark.decode()
        for token, mark in _HOOK.findall(task.raw)
        if known.is_own_hook(known.upstream, token.decode(), mark.decode())
    ]
    if in_hooks:
        return in_state if in_state in in_hooks else in_hooks[0]
    if in_state:
        return in_state if marks.is_of(known.secret, known.upstream, in_state) else ""
    own = [
        mark for mark in sorted(marks.marks_in(task.raw)) if marks.is_of(known.secret, known.upstream, mark)
    ]
    return own[0] if len(own) == 1 else ""


def answers_in(tasks: Iterable[Task], upstream: str, dialect: Dialect) -> list[Staged]:
    """An answer for each task that may have been a modal and no longer is one. NOT_START says nothing: it may still be a modal."""
    past = [task for task in tasks if task.status not in ("", Status.MODAL, Status.NOT_START)]
    return [
        _staged(upstream, dialect, Modal(task_id=task.id), label="modal", parent_id=task.id, key=True)
        for task in past
    ]


def _asked(task: Task, mark: str, known: Known) -> Staged:
    request, label = _request(task)
    parent_id = task.pressed_on
    staged = _staged(known.upstream, known.dialect, request, label=label, parent_id=parent_id, key=False)
    if isinstance(request, Imagine):
        return staged  # its intent depends on where it was asked for, which no task shows
    keys = [key_of(known.upstream, request, generation=again) for again in range(MOST_REPEATS)]
    derived = [
        (again, key)
        for again, key in enumerate(keys)
        if marks.mark_of(known.secret, known.upstream, key) == mark
    ]
    if not derived and marks.is_of(known.secret, known.upstream, mark):
        return staged  # the mark of another intent, for example under another id of the parent
    again, key = derived[0] if derived else (0, keys[0])  # by a release that did not derive marks
    return msgspec.structs.replace(staged, idempotency_key=key, thing=thing_of(request, generation=again))


def _request(task: Task) -> tuple[Request, str]:
    """The request that made a task, and its label."""
    parent_id, made_by = task.pressed_on, task.made_by
    if parent_id and task.properties.custom_id:
        custom_id = task.properties.custom_id
        return Action(task_id=parent_id, custom_id=custom_id), Button(custom_id=custom_id).name
    if parent_id and made_by:
        try:
            change = as_change(SimpleChange(content=f"{parent_id} {made_by}"))
        except InvalidRequest:
            return Action(task_id=parent_id, custom_id=made_by), made_by
        return change, label_of(change)
    return Imagine(prompt=task.prompt), "imagine"


def _staged(
    upstream: str, dialect: Dialect, request: Request, *, label: str, parent_id: str, key: bool
) -> Staged:
    return Staged(
        idempotency_key=key_of(upstream, request) if key else "",
        chain_id="",
        upstream=upstream,
        kind=kind_of(request),
        label=label,
        request=encode_request(request),
        parent_id=parent_id,
        depth=0,
        asked_by=ASKED_BY,
        lane=lane_of(request, upstream, dialect),
    )
