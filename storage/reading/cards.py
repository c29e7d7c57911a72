"""The cards of the gallery: chains with their tasks and submissions, and tasks without a chain."""

from __future__ import annotations

import hashlib

import msgspec

from storage.records import ChainRow, Submission, TaskRow
from storage.tasks.polling import LOST, REFUTED

STATUSES = ("active", "attention", "failed", "done")
"""The status of a chain: a part of it runs or waits; it needs a person; a part of it failed; it is complete."""

FAILED_TASK = ("FAILURE", "CANCEL", LOST, REFUTED)
WAITING = ("waiting", "sending")
TROUBLED = ("uncertain", "dead", "held")

CardCursor = tuple[int, str]
"""(created_at_ms, id) of the last card of a page."""


class CardFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Selects cards that match all given fields; "" and 0 match anything. `text` is a part of the prompt; times are epoch ms,
    `until_ms` exclusive. `asked_by` is a receiver ("rule:upscale") that submitted something in the chain."""

    status: str = ""
    upstream: str = ""
    asked_by: str = ""
    text: str = ""
    since_ms: int = 0
    until_ms: int = 0

    @property
    def is_empty(self) -> bool:
        """True if it selects all cards."""
        return self == CardFilter()


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A chain with all its tasks and submissions, oldest first; `chain` is None for a task without a chain."""

    chain: ChainRow | None
    tasks: tuple[TaskRow, ...]
    submissions: tuple[Submission, ...] = ()

    @property
    def upstream(self) -> str:
        """The name of its upstream."""
        return self.chain.upstream if self.chain is not None else self.tasks[0].upstream

    @property
    def created_at_ms(self) -> int:
        """When it was created; cards are sorted by it."""
        return self.chain.created_at_ms if self.chain is not None else self.tasks[0].created_at_ms

    @property
    def changed_at_ms(self) -> int:
        """When any part of it last changed."""
        of_tasks = [task.updated_at_ms for task in self.tasks]
        of_submissions = [submission.updated_at_ms for submission in self.submissions]
        return max([*of_tasks, *of_submissions, self.created_at_ms])

    @property
    def status(self) -> str:
        """One of `STATUSES`."""
        states = {submission.state for submission in self.submissions}
        if any(task.status == "MODAL" for task in self.tasks) or not states.isdisjoint(TROUBLED):
            return "attention"
        if any(task.finished_at_ms is None for task in self.tasks) or not states.isdisjoint(WAITING):
            return "active"
        failed = any(task.status in FAILED_TASK for task in self.tasks)
        return "failed" if failed or "rejected" in states else "done"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The row that a card is built from: a chain, or a task without a chain."""

    chain: ChainRow | None = None
    task: TaskRow | None = None

    @property
    def place(self) -> CardCursor:
        """Its position in the gallery."""
        row = self.chain or self.task
        return (0, "") if row is None else (row.created_at_ms, row.id)

    @property
    def id(self) -> str:
        """A unique name, of hexadecimal digits."""
        if self.chain is not None:
            return self.chain.id
        return loose_id(self.task) if self.task is not None else ""


def loose_id(task: TaskRow) -> str:
    """A unique name for the card of a task without a chain, of hexadecimal digits."""
    return hashlib.sha256(f"{task.upstream}|{task.id}".encode()).hexdigest()[:16]


class CardPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of cards, and where the next page begins; `next` is None if there is nothing older."""

    cards: list[Card]
    next: CardCursor | None
