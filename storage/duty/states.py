"""The states of deliveries and submissions, every move between them, and the operation that makes it.

A statement that moves a row names its operation, and takes the allowed previous states from these tables. So a move that is in
neither table cannot be written: requesting it raises `UnknownMove`. A row in another state stays as it is, and the operation reports
that by `LeaseLost`, by False, or by a smaller number. docs/explanation/states.md shows both tables.
"""

from __future__ import annotations

from typing import get_args

import msgspec

from storage.errors import UnknownMove
from storage.records import DeliveryState, SubmissionState


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """One operation: it moves a row from one of the states `before` to one of the states `after`.

    Without `before` it creates the row. `where` is the module that does it; `why` says when.
    """

    by: str
    where: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...]
    why: str


class States(msgspec.Struct, frozen=True, kw_only=True):
    """The states of one table.

    `waiting`: due at `run_at_ms`; `running`: a worker has it; `dead`: it ran out of attempts, and a person may retry or drop it;
    `dropped`: the state after a drop. `open`: states that hookchain will change without a person. `finished`: final states.
    """

    of: str
    every: tuple[str, ...]
    waiting: str
    running: str
    dead: str
    dropped: str
    open: tuple[str, ...]
    finished: tuple[str, ...]
    moves: tuple[Move, ...]

    def new(self, by: str, state: str) -> str:
        """The state of a new row. Raises `UnknownMove` if the operation does not create rows in this state."""
        if self.before(by, state):
            raise UnknownMove(f"{by!r} creates no new {self.of}: storage/duty/states.py has all moves")
        return state

    def before(self, by: str, after: str) -> list[str]:
        """The states from which an operation moves a row to `after`; empty if it creates the row. Raises `UnknownMove`."""
        for move in self.moves:
            if move.by == by and after in move.after:
                return list(move.before)
        raise UnknownMove(
            f"{by!r} never moves a {self.of} to {after!r}: storage/duty/states.py has all moves"
        )


DELIVERY = States(
    of="delivery",
    every=get_args(DeliveryState),
    waiting="waiting",
    running="running",
    dead="dead",
    dropped="done",
    open=("waiting", "running"),
    finished=("done",),
    moves=(
        Move(
            by="fan_out",
            where="storage.deliveries.delivery_queue",
            after=("waiting",),
            why="an event has a receiver",
        ),
        Move(
            by="claim",
            where="storage.deliveries.delivery_queue",
            before=("waiting",),
            after=("running",),
            why="it is due, and a worker takes it",
        ),
        Move(
            by="end",
            where="storage.deliveries.endings",
            before=("running",),
            after=("done", "waiting", "dead"),
            why="the run ended: for good, to be tried again, or out of attempts",
        ),
        Move(
            by="give_back",
            where="storage.deliveries.suspects",
            before=("running",),
            after=("waiting",),
            why="its worker stopped, died, or lost track of it",
        ),
        Move(
            by="retry",
            where="storage.deliveries.dead_deliveries",
            before=("dead",),
            after=("waiting",),
            why="a person retries it",
        ),
        Move(
            by="drop",
            where="storage.deliveries.dead_deliveries",
            before=("dead",),
            after=("done",),
            why="a person discards it",
        ),
    ),
)

_OPEN = ("sending", "uncertain", "waiting")
"""Those that an attempt may have left."""

SUBMISSION = States(
    of="submission",
    every=get_args(SubmissionState),
    waiting="waiting",
    running="sending",
    dead="dead",
    dropped="rejected",
    open=("held", *_OPEN),
    finished=("accepted", "needs_modal", "existed", "rejected"),
    moves=(
        Move(
            by="stage",
            where="storage.submissions.staging",
            after=("waiting", "held", "refused", "existed"),
            why="somebody requests it: it is due, needs an approval, a budget refuses it, or its button was pressed elsewhere",
        ),
        Move(
            by="restore",
            where="storage.submissions.adoption",
            after=("accepted", "needs_modal"),
            why="the upstream shows its task, and a restored database lacks it",
        ),
        Move(
            by="claim",
            where="storage.submissions.submission_queue",
            before=("waiting",),
            after=("sending",),
            why="it is due, and a worker begins an attempt",
        ),
        Move(
            by="settle",
            where="storage.submissions.settlements",
            before=_OPEN,
            after=("accepted", "needs_modal", "existed", "rejected", "uncertain", "waiting", "dead"),
            why="its attempt ended, even after its worker was given up, unless it was sent again",
        ),
        Move(
            by="give_back",
            where="storage.submissions.interrupted",
            before=("sending",),
            after=("uncertain", "waiting", "accepted"),
            why="its worker stopped, died, or lost track of it: the request may have left, never left, or made a task",
        ),
        Move(
            by="prove",
            where="storage.submissions.proof",
            before=("uncertain", "dead", "waiting"),
            after=("accepted",),
            why="a task carries its mark, or its modal was answered; while it waits, only after an attempt",
        ),
        Move(
            by="disprove",
            where="dispatcher.loops.resolve",
            before=("uncertain",),
            after=("waiting",),
            why="the upstream's list shows that it never took it, or the settings want it sent once more",
        ),
        Move(
            by="settle_by_hand",
            where="storage.submissions.proof",
            before=("uncertain",),
            after=("accepted", "waiting"),
            why="a person knows whether the upstream took it",
        ),
        Move(
            by="repeat",
            where="storage.submissions.modals",
            before=("needs_modal", "accepted"),
            after=("waiting", "dead"),
            why="the upstream deleted the modal that it had opened",
        ),
        Move(
            by="adopt",
            where="storage.submissions.adoption",
            before=("waiting", "held", "refused", "dead", "existed"),
            after=("accepted",),
            why="the upstream shows its task, and a restored database believes it unsent",
        ),
        Move(
            by="adopt_answer",
            where="storage.submissions.adoption",
            before=("waiting", "held", "refused", "dead"),
            after=("accepted",),
            why="the upstream shows that its modal was answered, and a restored database believes it unsent",
        ),
        Move(
            by="retry",
            where="storage.submissions.dead_submissions",
            before=("dead", "rejected"),
            after=("waiting",),
            why="a person retries it, as it was or edited; never if the upstream is known to have it",
        ),
        Move(
            by="withdraw",
            where="storage.tickets.withdrawing",
            before=("waiting",),
            after=("rejected",),
            why="its client cancelled it, it waited for too long, a person dropped it, or its rule no longer wants it, before anything left",
        ),
        Move(
            by="limit",
            where="storage.submissions.dead_submissions",
            before=("waiting",),
            after=("refused",),
            why="a person retried or approved it a moment ago, and a budget has no room for it",
        ),
        Move(
            by="drop",
            where="storage.submissions.dead_submissions",
            before=("dead",),
            after=("rejected",),
            why="a person discards it",
        ),
        Move(
            by="release",
            where="storage.submissions.releases",
            before=("refused",),
            after=("waiting",),
            why="a person wants it all the same",
        ),
        Move(
            by="approve",
            where="storage.submissions.decisions",
            before=("held",),
            after=("waiting", "existed"),
            why="somebody approved it, or its approval expired and its rule sends it then; its button may have been pressed elsewhere since",
        ),
        Move(
            by="decline",
            where="storage.submissions.decisions",
            before=("held",),
            after=("rejected",),
            why="somebody decided against it, or its approval expired",
        ),
        Move(
            by="take_over",
            where="storage.submissions.releases",
            before=("held",),
            after=("waiting",),
            why="a person requests the same before its approval is decided",
        ),
    ),
)
