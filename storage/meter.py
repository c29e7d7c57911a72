"""What this process has counted and nobody has written down yet: how often, and how long. Performs no I/O.

Counting is some additions of whole numbers, so that a callback may be counted while its sender waits: its transaction
knows nothing of it. dispatcher/tally.py carries the figures to storage/traffic.py. Counted and taken on the event loop
alone.
"""

from __future__ import annotations

from heapq import nsmallest
from typing import Literal

import msgspec

Series = Literal["callbacks", "refused", "submissions", "deliveries"]
"""What is counted, and what its time is:

- callbacks: kept and answered 200; from the request's first byte read here to the commit.
- refused: requests to the hook that were answered anything else, quarantined ones among them; to their answer.
- submissions: requests that left for an upstream, each attempt; how long after it was due (`run_at_ms`) one left.
- deliveries: runs of receivers; how long after its event was kept the first run began, and how long after it was due a
  later one.

The last two are waits, not durations: who is woken at night asks how far behind we are, and a queue shows in them
before anybody complains. How long an upstream or a plugin takes is its own affair, and does not.
"""

SERIES: tuple[Series, ...] = ("callbacks", "refused", "submissions", "deliveries")

MINUTE_MS = 60_000

MOST_MINUTES = 1440
"""Minutes of one series that are held while the database is away. Past that the two oldest become one: their figures
count, their time gets coarser."""


class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one series in the minute that began at `minute_ms`; times in microseconds."""

    minute_ms: int
    series: Series
    happened: int
    total_us: int
    slowest_us: int


class Sum(msgspec.Struct):
    """How often, how long together, and how long at most, in microseconds. It grows."""

    happened: int = 0
    total_us: int = 0
    slowest_us: int = 0

    def add(self, happened: int, total_us: int, slowest_us: int) -> None:
        """Count so many more."""
        self.happened += happened
        self.total_us += total_us
        self.slowest_us = max(self.slowest_us, slowest_us)


class Meter:
    """Counts from the process's start on. `since_start` only grows; what `take` gives is given once."""

    def __init__(self) -> None:
        self.since_start: dict[Series, Sum] = {series: Sum() for series in SERIES}
        self._untaken: dict[Series, dict[int, Sum]] = {series: {} for series in SERIES}

    def count(self, series: Series, at_ms: int, took_us: int) -> None:
        """It happened at `at_ms` (epoch) and took so long. A time below zero, by clocks that differ, is none."""
        if took_us < 0:
            took_us = 0
        minute = self._untaken[series].get(at_ms - at_ms % MINUTE_MS) or self._begin(series, at_ms)
        minute.happened += (
            1  # not by Sum.add: every callback comes through here, and the call would be half of it
        )
        minute.total_us += took_us
        if took_us > minute.slowest_us:
            minute.slowest_us = took_us
        total = self.since_start[series]
        total.happened += 1
        total.total_us += took_us

    def take(self) -> list[Minute]:
        """All that was counted and not taken yet, in the order of its keys; it must be written, or given back."""
        taken = [
            Minute(
                minute_ms=minute_ms,
                series=series,
                happened=one.happened,
                total_us=one.total_us,
                slowest_us=one.slowest_us,
            )
            for series, minutes in self._untaken.items()
            for minute_ms, one in minutes.items()
        ]
        self._untaken = {series: {} for series in SERIES}
        return sorted(taken, key=lambda one: (one.minute_ms, one.series))

    def give_back(self, minutes: list[Minute]) -> None:
        """These could not be written: the next `take` gives them again, with what was counted since."""
        for one in minutes:
            held = self._untaken[one.series].get(one.minute_ms) or self._begin(one.series, one.minute_ms)
            held.add(one.happened, one.total_us, one.slowest_us)

    def _begin(self, series: Series, at_ms: int) -> Sum:
        minutes = self._untaken[series]
        begun = minutes[at_ms - at_ms % MINUTE_MS] = Sum()
        if len(minutes) > MOST_MINUTES:
            oldest, next_oldest = nsmallest(2, minutes)
            gone = minutes.pop(oldest)
            minutes[next_oldest].add(gone.happened, gone.total_us, gone.slowest_us)
        return begun
