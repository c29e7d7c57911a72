"""Stores what hookchain has learned about an upstream's list of tasks, so that it survives a restart.

`dispatcher/policy/list_learning.py` learns it; `dispatcher/policy/submission_evidence.py` draws conclusions from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec
from sqlalchemy import Connection

from storage import settings

Order = Literal["", "newest first", "oldest first", "mixed"]

ENOUGH_LAGS = 3
"""The number of tasks that must be timed before the list's lag counts as known."""


class ListFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one upstream's list behaves. A value that the list contradicts is replaced, not averaged.

    `lags_ms`: for each of the tasks timed last, the longest time between its request and its appearance in the list.
    `timed_until_ms`: when the request of the newest timed task began. `most_entries`: the longest list so far; `is_cut`: older tasks
    of ours were missing at its end. `marks`: for each kind of submission, whether the list shows the marks of its tasks.
    `slowest_ms`: the longest time that the upstream took to answer a request that it accepted.
    """

    is_missing: bool = False
    order: Order = ""
    lags_ms: tuple[int, ...] = ()
    timed_until_ms: int = 0
    most_entries: int = 0
    is_cut: bool = False
    marks: Mapping[str, bool] = {}
    slowest_ms: int = 0

    @property
    def lag_ms(self) -> int | None:
        """The longest lag among the tasks timed last; None until enough were timed."""
        return max(self.lags_ms) if len(self.lags_ms) >= ENOUGH_LAGS else None


_KEY = "list"


def find(connection: Connection, upstream: str) -> ListFacts:
    """The facts known about this upstream's list; the defaults if none are."""
    kept = settings.value(connection, f"{_KEY}:{upstream}")
    return ListFacts() if kept is None else msgspec.json.decode(kept, type=ListFacts)


def keep(connection: Connection, upstream: str, facts: ListFacts) -> None:
    """Store the facts about this upstream's list."""
    settings.keep(connection, f"{_KEY}:{upstream}", msgspec.json.encode(facts).decode())
