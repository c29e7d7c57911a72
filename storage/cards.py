"""What stands in the gallery: chains with all that is in them, and tasks that have no chain."""

from __future__ import annotations

import hashlib

import msgspec

from storage.looks import LOST
from storage.records import ChainRow, Submission, TaskRow

STATUSES = ("active", "attention", "failed", "done")
"""What a chain is: something of it runs or waits; it waits for a person; something of it failed; it is complete."""

FAILED_TASK = ("FAILURE", "CANCEL", LOST)
WAITING = ("waiting", "sending")
TROUBLED = ("uncertain", "dead")

Place = tuple[int, str]
"""(created_at_ms, id): where a page ended."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for; "" and 0 for anything. `text` is a part of the prompt; times are epoch ms, `until_ms` not
    included. `asked_by` is a receiver ("rule:upscale") that submitted something in the chain."""

    status: str = ""
    upstream: str = ""
    asked_by: str = ""
    text: str = ""
    since_ms: int = 0
    until_ms: int = 0

    @property
    def is_anything(self) -> bool:
        """Whether nothing is left out."""
        return self == Wanted()


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A chain with all its tasks and submissions, oldest first; `chain` is None for a task that has no chain."""

    chain: ChainRow | None
    tasks: tuple[TaskRow, ...]
    submissions: tuple[Submission, ...] = ()

    @property
    def upstream(self) -> str:
        """Where it is made."""
        return self.chain.upstream if self.chain is not None else self.tasks[0].upstream

    @property
    def created_at_ms(self) -> int:
        """Its age, by which cards are sorted."""
        return self.chain.created_at_ms if self.chain is not None else self.tasks[0].created_at_ms

    @property
    def changed_at_ms(self) -> int:
        """When anything of it changed last."""
        of_tasks = [one.updated_at_ms for one in self.tasks]
        return max([*of_tasks, *(one.updated_at_ms for one in self.submissions), self.created_at_ms])

    @property
    def status(self) -> str:
        """One of `STATUSES`."""
        if any(one.status == "MODAL" for one in self.tasks) or any(
            one.state in TROUBLED for one in self.submissions
        ):
            return "attention"
        if any(one.finished_at_ms is None for one in self.tasks) or any(
            one.state in WAITING for one in self.submissions
        ):
            return "active"
        failed = any(one.status in FAILED_TASK for one in self.tasks)
        return "failed" if failed or any(one.state == "rejected" for one in self.submissions) else "done"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a card is found by: a chain, or a task that has none."""

    chain: ChainRow | None = None
    task: TaskRow | None = None

    @property
    def place(self) -> Place:
        """Where it stands in the gallery."""
        row = self.chain or self.task
        return (0, "") if row is None else (row.created_at_ms, row.id)

    @property
    def id(self) -> str:
        """A name for it that no other has, of hexadecimal digits."""
        if self.chain is not None:
            return self.chain.id
        return loose_id(self.task) if self.task is not None else ""


def loose_id(task: TaskRow) -> str:
    """A name for the card of a task without a chain, of hexadecimal digits."""
    return hashlib.sha256(f"{task.upstream}|{task.id}".encode()).hexdigest()[:16]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A page: cards, and where the next one begins; `next` is None when there is nothing older."""

    cards: list[Card]
    next: Place | None
