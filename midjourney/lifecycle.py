"""Moves a task's state: only forward, by one table, in whatever order its callbacks arrive.

Senders post in parallel, without sequence numbers, each state once or several times (novicezk 2.6 repeats an equal state,
trueai v11 may send SUCCESS twice). So an update either moves the task forward or is stale: stored as an event, and changing
nothing.

    (nothing) ─▶ NOT_START ─▶ MODAL ─▶ SUBMITTED ─▶ IN_PROGRESS 0…100 % ─▶ SUCCESS | FAILURE | CANCEL

Every arrow may be skipped. The last three states end the task: anything later is stale, including another end.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from midjourney.types import TERMINAL, Status, Task


class Change(StrEnum):
    """How an update changed its task."""

    NOTED = "noted"  # a new task, or an unknown status: stored, without a signal
    MODAL = "modal"
    SUBMITTED = "submitted"
    STARTED = "started"
    PROGRESSED = "progressed"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Position(msgspec.Struct, frozen=True):
    """The known state of a task. `progress` is a percentage, -1 if none was given."""

    status: str
    progress: int = -1


# NOT_START and every unknown status have rank 0: pending, below all known states.
_RANKS: dict[str, int] = {
    Status.MODAL: 1,
    Status.SUBMITTED: 2,
    Status.IN_PROGRESS: 3,
    Status.FAILURE: 4,
    Status.SUCCESS: 4,
    Status.CANCEL: 4,
}

_CHANGES: dict[str, Change] = {
    Status.MODAL: Change.MODAL,
    Status.SUBMITTED: Change.SUBMITTED,
    Status.IN_PROGRESS: Change.STARTED,
    Status.SUCCESS: Change.SUCCEEDED,
    Status.FAILURE: Change.FAILED,
    Status.CANCEL: Change.CANCELLED,
}


class Comparison(StrEnum):
    """How the upstream's own report of a task compares with its stored state."""

    NEWS = "news"  # the task is further on, or its stored end was wrong
    SAME = "same"
    BEHIND = "behind"  # the upstream lags behind the stored state
    CONTRADICTS = (
        "contradicts"  # the stored end comes from a callback, and the upstream reports something else
    )


def position_of(task: Task) -> Position:
    """The state of the task in this payload."""
    return Position(task.status, -1 if task.progress is None else task.progress)


def advance(known: Position | None, update: Position) -> tuple[Position, Change] | None:
    """The new position and the change, or None if the update is stale.

    `known` is None, or its status "", for a new task. An unknown status moves a task only until it has a known one.
    """
    if known is None or not known.status:
        return update, _CHANGES.get(update.status, Change.NOTED)
    old, new = _RANKS.get(known.status, 0), _RANKS.get(update.status, 0)
    if known.status in TERMINAL or new < old:
        return None
    if new > old:
        return update, _CHANGES.get(update.status, Change.NOTED)
    if update.status == Status.IN_PROGRESS and update.progress > known.progress:
        return update, Change.PROGRESSED
    if new == 0 and update.status not in (known.status, Status.NOT_START):
        return update, Change.NOTED
    return None


def compare(known: Position | None, reported: Position, *, confirmed: bool) -> Comparison:
    """Compare `reported`, the upstream's own report, with the stored position `known`.

    `confirmed`: the upstream has confirmed `known` before. An end that only a callback reported yields to the upstream's report; a
    confirmed one yields only to SUCCESS, because servers revoke a time-out, but never an image.
    """
    if known is None or known.status not in _RANKS:
        same = known is not None and known.status == reported.status
        return Comparison.SAME if same else Comparison.NEWS
    if known.status not in TERMINAL:
        if advance(known, reported) is not None:
            return Comparison.NEWS
        return Comparison.SAME if reported.status == known.status else Comparison.BEHIND
    if reported.status == known.status:
        return Comparison.SAME
    if not confirmed:
        return Comparison.CONTRADICTS
    return Comparison.NEWS if reported.status == Status.SUCCESS else Comparison.BEHIND
