"""Counts and durations of this process that are not stored yet. Performs no I/O.

Counting costs a few integer additions, so that a callback can be counted while its sender waits, outside its transaction.
dispatcher/loops/count_traffic.py moves the figures to storage/traffic.py. Both happen on the event loop only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from heapq import nsmallest
from typing import Literal, TypeVar

import msgspec

from storage.histogram import ANSWER_MS, WORK_MS, Histogram

T = TypeVar("T")

Series = Literal["callbacks", "refused", "submissions", "deliveries"]
"""What is counted, and what its time measures:

- callbacks: stored and answered 200; from the request's first byte read here to the commit.
- refused: requests to the hook that got any other answer, including quarantined ones; from the first byte to the answer.
- submissions: requests sent to an upstream, counting each attempt; from when it was due (`run_at_ms`) to its sending.
- deliveries: runs of receivers; for the first run from the storing of its event, for a later one from when it was due.

The last two are waits, not durations: whoever is on call asks how large the backlog is, and a growing queue shows in them
first. The time that an upstream or a plugin takes is not included, because hookchain cannot change it.
"""

SERIES: tuple[Series, ...] = ("callbacks", "refused", "submissions", "deliveries")

_BOUNDS_MS = {"callbacks": ANSWER_MS, "refused": ANSWER_MS, "submissions": WORK_MS, "deliveries": WORK_MS}

MINUTE_MS = 60_000

MOST_MINUTES = 1440
"""Minutes of one series that are held while the database is unavailable. Beyond that the two oldest are merged: no count is
lost, only the resolution."""


class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one series in the minute that began at `minute_ms`; times in microseconds."""

    minute_ms: int
    series: Series
    happened: int
    total_us: int
    slowest_us: int


class Sum(msgspec.Struct):
    """A mutable sum: the count, the total time and the longest time, in microseconds."""

    happened: int = 0
    total_us: int = 0
    slowest_us: int = 0

    def add(self, happened: int, total_us: int, slowest_us: int) -> None:
        """Add these figures."""
        self.happened += happened
        self.total_us += total_us
        self.slowest_us = max(self.slowest_us, slowest_us)


class Holds:
    """How long each named transaction occupied a writer, since the process started.

    A batch of writes is one database transaction: each named unit in it counts for the time of its own statements, the first
    one including the wait for other processes; the commit that they share is counted as `COMMIT`. Written in the writer's
    thread, readable from any.
    """

    COMMIT = "commit"

    def __init__(self) -> None:
        self._sums: dict[str, Sum] = {}

    def timed(self, name: str, work: Callable[[], T]) -> T:
        """Do the work and record how long it took, however it ended."""
        begun_ns = time.perf_counter_ns()
        try:
            return work()
        finally:
            took_us = (time.perf_counter_ns() - begun_ns) // 1000
            self._sums.setdefault(name, Sum()).add(1, took_us, took_us)

    @staticmethod
    def together(holds: Iterable[Holds]) -> dict[str, Sum]:
        """The figures of several writers, by name."""
        sums: dict[str, Sum] = {}
        for writer_holds in holds:
            for name, counted in sorted(writer_holds._sums.copy().items()):
                sums.setdefault(name, Sum()).add(counted.happened, counted.total_us, counted.slowest_us)
        return sums


class Meter:
    """Counts since the process started. `since_start` only grows; `take` returns each figure once."""

    def __init__(self) -> None:
        self.since_start = {series: Histogram(_BOUNDS_MS[series]) for series in SERIES}
        self._untaken: dict[Series, dict[int, Sum]] = {series: {} for series in SERIES}

    def count(self, series: Series, at_ms: int, took_us: int) -> None:
        """Count one at `at_ms` (epoch) that took `took_us`. A negative time, from clocks that differ, counts as zero."""
        if took_us < 0:
            took_us = 0
        minute = self._untaken[series].get(at_ms - at_ms % MINUTE_MS) or self._begin(series, at_ms)
        # Not by Sum.add: this runs for every callback, and the call would take half of the time.
        minute.happened += 1
        minute.total_us += took_us
        if took_us > minute.slowest_us:
            minute.slowest_us = took_us
        self.since_start[series].add(took_us)

    def take(self) -> list[Minute]:
        """All figures not taken yet, ordered by key; the caller must store them, or give them back."""
        taken = [
            Minute(
                minute_ms=minute_ms,
                series=series,
                happened=counted.happened,
                total_us=counted.total_us,
                slowest_us=counted.slowest_us,
            )
            for series, minutes in self._untaken.items()
            for minute_ms, counted in minutes.items()
        ]
        self._untaken = {series: {} for series in SERIES}
        return sorted(taken, key=lambda minute: (minute.minute_ms, minute.series))

    def give_back(self, minutes: list[Minute]) -> None:
        """Return figures that could not be stored: the next `take` includes them."""
        for minute in minutes:
            sums = self._untaken[minute.series]
            counted = sums.get(minute.minute_ms) or self._begin(minute.series, minute.minute_ms)
            counted.add(minute.happened, minute.total_us, minute.slowest_us)

    def _begin(self, series: Series, at_ms: int) -> Sum:
        minutes = self._untaken[series]
        begun = minutes[at_ms - at_ms % MINUTE_MS] = Sum()
        if len(minutes) > MOST_MINUTES:
            oldest, next_oldest = nsmallest(2, minutes)
            gone = minutes.pop(oldest)
            minutes[next_oldest].add(gone.happened, gone.total_us, gone.slowest_us)
        return begun
