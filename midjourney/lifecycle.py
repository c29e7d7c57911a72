"""How a task's state moves: forward only, by one table, whatever order its callbacks arrive in.

Senders post in parallel, without sequence numbers, each state once or several times (novicezk 2.6 sends an equal
state again, trueai v11 may send SUCCESS twice). So an update either moves the task forward or is stale: kept as an
event, changing nothing.

    (nothing) ─▶ NOT_START ─▶ MODAL ─▶ SUBMITTED ─▶ IN_PROGRESS 0…100 % ─▶ SUCCESS | FAILURE | CANCEL

Every arrow may be skipped. The three last are the end: what comes later is stale, another end included.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from midjourney.types import TERMINAL, Status, Task


class Change(StrEnum):
    """What an update did to its task."""

    NOTED = "noted"  # first heard of, or a word nobody knows: worth keeping, no signal
    MODAL = "modal"
    SUBMITTED = "submitted"
    STARTED = "started"
    PROGRESSED = "progressed"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Position(msgspec.Struct, frozen=True):
    """How far a task is known to be. `progress` is a percentage, -1 where none was given."""

    status: str
    progress: int = -1


_RANKS: dict[str, int] = {
    Status.MODAL: 1,
    Status.SUBMITTED: 2,
    Status.IN_PROGRESS: 3,
    Status.FAILURE: 4,
    Status.SUCCESS: 4,
    Status.CANCEL: 4,
}  # NOT_START and every unknown word rank 0: pending, and below all that is known

_CHANGES: dict[str, Change] = {
    Status.MODAL: Change.MODAL,
    Status.SUBMITTED: Change.SUBMITTED,
    Status.IN_PROGRESS: Change.STARTED,
    Status.SUCCESS: Change.SUCCEEDED,
    Status.FAILURE: Change.FAILED,
    Status.CANCEL: Change.CANCELLED,
}


def position_of(task: Task) -> Position:
    """Where this payload says the task is."""
    return Position(task.status, -1 if task.progress is None else task.progress)


def advance(known: Position | None, update: Position) -> tuple[Position, Change] | None:
    """The new position and what changed, or None when the update is stale.

    `known` is None, or its status "", for a task never heard of. An unknown status moves a task only as long as
    nothing known is.
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
