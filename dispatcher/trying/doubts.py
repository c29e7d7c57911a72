"""What a trial cannot know of the past, in plain words."""

from __future__ import annotations

from collections.abc import Container

from dispatcher.trying.facts import Fact
from midjourney.decode import kept_task
from storage.reading.facts import Requested
from storage.records import ClaimedDelivery


class Doubts:
    """Counts what the recorded past does not tell, or not readably, of what a server with these rules would have seen."""

    def __init__(self, signals: Container[str]) -> None:
        self._signals = signals
        self._not_read: set[tuple[str, str]] = set()
        self._later: set[tuple[str, str]] = set()
        self._skipped: list[str] = []

    def hear(self, fact: ClaimedDelivery) -> None:
        """Note an event that the rules hear, if the upstream was not asked about it at the time."""
        event = fact.event
        if not fact.is_unverified or event.signal not in self._signals:
            return
        if fact.latest == event.payload:
            self._not_read.add((event.upstream, event.task_id))
        elif _buttons(fact.latest) != _buttons(event.payload):
            self._later.add((event.upstream, event.task_id))

    def skip(self, fact: Fact) -> None:
        """Note a fact that cannot be decoded, and so was left out."""
        match fact:
            case Requested():
                self._skipped.append(f"submission {fact.submission.id}")
            case ClaimedDelivery():
                self._skipped.append(f"event {fact.event.id}")
            case _:
                self._skipped.append(f"approval {fact.id}")

    def notes(self) -> list[str]:
        """What is not known."""
        told = []
        if self._later:
            told.append(
                "when the buttons came of tasks that nobody read back when they ended; "
                f"the rules were given what the upstream showed later ({len(self._later)})"
            )
        if self._not_read:
            told.append(
                "whether the upstream would have confirmed ends of tasks that only a callback told; "
                f"the rules were given the callback ({len(self._not_read)})"
            )
        if self._skipped:
            told.append(
                f"what would have followed from rows that cannot be decoded, and were left out ({len(self._skipped)}, "
                f"the first is {self._skipped[0]})"
            )
        return told


def _buttons(payload: bytes) -> frozenset[str]:
    task = kept_task(payload)
    return frozenset() if task is None else frozenset(button.custom_id for button in task.buttons)
