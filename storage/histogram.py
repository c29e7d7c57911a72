"""Histograms of durations in this process since its start, from which /metrics can give a p95.

Adding a value takes 0.2 µs, because a callback is counted while its sender waits. Performs no I/O.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

ANSWER_MS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 15_000)
"""Bounds for durations that a client waits for. A callback is answered in 2 to 3 ms on a quiet machine, and in 25 ms at the
limit of a core (docs/explanation/performance.md); a server that does not answer is given up after 15 s."""

WORK_MS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 15_000, 30_000, 60_000, 300_000, 3_600_000)
"""Bounds for background work. A follow-up leaves 5 to 25 ms after its callback; a request or a run may take 60 s, and the
wait before the next try grows up to an hour."""


class Histogram:
    """Counts durations by upper bound, and their total. Only one thread may add at a time."""

    def __init__(self, bounds_ms: tuple[float, ...]) -> None:
        self.bounds_ms = bounds_ms
        self.total_us = 0
        self._bounds_us = [int(1000 * bound) for bound in bounds_ms]
        self._counts = [0] * (len(bounds_ms) + 1)

    def add(self, took_us: int) -> None:
        """Count one duration."""
        self.total_us += took_us
        self._counts[bisect_left(self._bounds_us, took_us)] += 1

    def timed(self) -> Timed:
        """Count the duration of a `with` block, however it ends."""
        return Timed(self)

    @property
    def happened(self) -> int:
        """The number of durations counted."""
        return sum(self._counts)

    def cumulative(self) -> list[int]:
        """The number of durations up to each bound, and, as one further value, the number of all."""
        return list(accumulate(self._counts))


class Timed:
    """The duration of one `with` block. A generator would take three times as long."""

    __slots__ = ("_began_ns", "_histogram")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram

    def __enter__(self) -> None:
        self._began_ns = time.perf_counter_ns()

    def __exit__(self, *_: object) -> None:
        self._histogram.add((time.perf_counter_ns() - self._began_ns) // 1000)


def together(histograms: Iterable[Histogram], bounds_ms: tuple[float, ...]) -> Histogram:
    """The sum of several histograms, all with these bounds."""
    total = Histogram(bounds_ms)
    for histogram in histograms:
        assert histogram.bounds_ms == bounds_ms
        total.total_us += histogram.total_us
        total._counts = [ours + more for ours, more in zip(total._counts, histogram._counts, strict=True)]
    return total


class Timings:
    """How long the work of this process took. Waits are in storage/meter.py, transactions in `Writer.transactions`.

    `runs`: receivers, from their call to their return. `submissions`: from leaving the queue to the answer, including the
    loading of private images. `requests`: single requests to upstreams, by the upstream's name and the kind of request.
    """

    def __init__(self) -> None:
        self.runs = Histogram(WORK_MS)
        self.submissions = Histogram(WORK_MS)
        self.requests: dict[tuple[str, str], Histogram] = {}

    def requests_of(self, upstream: str, kind: str) -> Histogram:
        """The histogram of requests of one kind to one upstream."""
        if (known := self.requests.get((upstream, kind))) is None:
            known = self.requests[upstream, kind] = Histogram(WORK_MS)
        return known
