"""Decides from the parts of a chain whether it is at rest, or the children of one of its tasks are done. Pure.

Something blocks a join as long as it may still change by itself, or by what waits for a person:

- a task that has not ended by the upstream's own word: an end that only a callback reported is not one yet;
- a modal without an answer. Once it was answered, the answer counts, and the task that it made;
- a submission that waits (for its time, its lane, the budget's hour or an approval), is being sent, or has an unknown outcome;
- an event that is not fanned out, and a delivery to a receiver that may still request something.

Dead and refused submissions are ends: hookchain does no more about them, and if a person does, that is new activity.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

import msgspec

from storage.duty.states import SUBMISSION
from storage.joins.follows import counts_for, is_after
from storage.joins.sql import Part
from storage.records import CHILDREN_DONE, JOINS, RESTED

MayRequest = Callable[[str], bool]
"""Returns whether a receiver, by its name, may request something."""

_MODAL = "MODAL"
_NO_WORK = "cancel"
"""A cancellation makes no task, and its refusal is not news."""


def is_at_rest(parts: Sequence[Part], may_request: MayRequest) -> bool:
    """True if nothing of a chain runs or waits. What waits for this very signal does not count: it comes after."""
    waits = [one for one in parts if one.what == "work" and one.state != RESTED]
    return not _is_any_open(parts, parts, waits, may_request)


def are_done(parts: Sequence[Part], children: Sequence[Part], task_id: str, may_request: MayRequest) -> bool:
    """True if all children of a task have ended, and nobody may press it because of what has happened so far."""
    about = {task_id, *(one.id for one in children)}
    waits = [
        one
        for one in parts
        if one.what == "work" and one.state not in JOINS and not about.isdisjoint((one.id, one.submission_id))
    ]
    return not _is_any_open(children, parts, waits, may_request)


def _is_any_open(
    looked_at: Sequence[Part], parts: Sequence[Part], waits: Iterable[Part], may_request: MayRequest
) -> bool:
    is_heard = any(one.name == "" or may_request(one.name) for one in waits)  # "": not fanned out yet
    return is_heard or any(_is_open(one, parts) for one in looked_at)


def _is_open(part: Part, parts: Sequence[Part]) -> bool:
    if part.what == "submission":
        return part.state in SUBMISSION.open or part.state == "held"
    if part.what == "task":
        return not part.is_over and not (part.state == _MODAL and _goes_on_elsewhere(part, parts))
    return False


def _goes_on_elsewhere(modal: Part, parts: Sequence[Part]) -> bool:
    """True if a modal was answered, and its own task does not continue: the answer made another one, or none."""
    answers = [
        one for one in parts if one.what == "submission" and one.name == "modal" and one.parent_id == modal.id
    ]
    return bool(answers) and not any(modal.id in _tasks_of(one) for one in answers)


def _tasks_of(submission: Part) -> tuple[str, ...]:
    return msgspec.json.decode(submission.more, type=tuple[str, ...])


def children_of(parts: Sequence[Part], task_id: str) -> list[Part]:
    """The submissions and tasks that were pressed on a task or made from it, with the answers to modals that were opened on it."""
    near = {one.id for one in parts if one.what == "task" and one.parent_id == task_id != one.id}
    requested = [
        one
        for one in parts
        if one.what == "submission"
        and one.name != _NO_WORK
        and (one.parent_id == task_id or (one.name == "modal" and one.parent_id in near))
    ]
    makers = {one.id for one in requested}
    made = [
        one
        for one in parts
        if one.what == "task" and one.id != task_id and (one.id in near or one.submission_id in makers)
    ]
    return [*requested, *made]


def digest_of(parts: Sequence[Part], signal: str) -> str:
    """A digest of the parts that have ended and count towards the join of a chain; "" if none of our submissions does. The join is due
    again once it has changed."""
    return _digest(parts, lambda one: not is_after(one.follows, signal))


def digest_of_children(parts: Sequence[Part], children: Sequence[Part], task_id: str) -> str:
    """The same for the children of a task. What follows from another join counts for tasks that follow from it too: a prompt that is
    requested when the chain rests is none of the presses on its first task."""
    own = next((one.submission_id for one in parts if one.what == "task" and one.id == task_id), "")
    before = next((one.follows for one in parts if one.what == "submission" and one.id == own), "")
    return _digest(children, lambda one: counts_for(one.follows, before))


def _digest(parts: Sequence[Part], counts: Callable[[Part], bool]) -> str:
    submissions = [one for one in parts if one.what == "submission" and one.name != _NO_WORK]
    left_out = {one.id for one in submissions if not counts(one)}
    counted = [f"{one.id} {one.state} {one.attempts}" for one in submissions if one.id not in left_out]
    if not counted:
        return ""
    counted += [
        f"{one.upstream} {one.id} {one.state}"
        for one in parts
        if one.what == "task" and one.submission_id not in left_out
    ]
    return hashlib.blake2b("\n".join(sorted(counted)).encode(), digest_size=12).hexdigest()


def signal_of(task_id: str) -> str:
    """The join of a mark: that of a task, or ("") that of its whole chain."""
    return CHILDREN_DONE if task_id else RESTED
