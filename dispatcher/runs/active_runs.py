"""The deliveries that this process is running, and what may start beside them.

A suspect (`storage/deliveries/suspects.py`) runs only while nothing else runs that could end the process.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from dispatcher.plugins.receivers import DEFAULTS, Options, Registry
from storage.deliveries.running_alone import Floor
from storage.records import ClaimedDelivery

Key = TypeVar("Key")

RUNNING_AT_ONCE = 64
"""The most receivers that run at the same time. All other deliveries wait in their table, not in memory."""

UNKNOWN_SHARE = 2
"""Deliveries about tasks that only a callback has named may use one half of a receiver's concurrency, and at least one run. Whoever
knows a hook can invent such tasks by the thousand, and each run waits for the upstream's answer."""

REST_S = 0.5
"""Seconds after a suspect's run in which other deliveries may start before the next suspect runs."""


class ActiveRuns:
    """Counts runs from their claim to the commit of their end, and those whose receiver may still be called. `abandoned` returns how many abandoned runs of a receiver have not ended;
    `most` run at the same time."""

    def __init__(
        self, registry: Registry, abandoned: Callable[[str], int], most: int = RUNNING_AT_ONCE
    ) -> None:
        self._most = most
        self._registry = registry
        self._abandoned = abandoned
        self._running: Counter[str] = Counter()
        self._executing: Counter[str] = Counter()
        self._ids: Counter[int] = Counter()
        self._suspects = 0
        self._asking: Counter[str] = Counter()
        self._rests_until_s = 0.0

    @property
    def ids(self) -> frozenset[int]:
        """Ids of the running deliveries."""
        return frozenset(self._ids)

    @property
    def free(self) -> int:
        """How many more deliveries may run."""
        return self._most - self._running.total()

    def begin(self, claimed: ClaimedDelivery) -> None:
        """Count a delivery that this process has claimed."""
        self._running[claimed.delivery.receiver] += 1
        self._executing[claimed.delivery.receiver] += 1
        self._ids[claimed.delivery.id] += 1
        self._suspects += claimed.delivery.suspected

    def ran(self, claimed: ClaimedDelivery) -> bool:
        """Give up the place of a run at its receiver: only the commit of its end is left. True if others may have waited for it."""
        receiver = claimed.delivery.receiver
        is_full = self._executing[receiver] >= self.options(receiver).concurrency
        _count_down(self._executing, receiver)
        return is_full

    def end(self, claimed: ClaimedDelivery) -> bool:
        """Stop counting a delivery whose end is committed. True if others may have waited for it."""
        delivery = claimed.delivery
        others_waited = self.free <= 0 or delivery.suspected
        _count_down(self._running, delivery.receiver)
        _count_down(self._ids, delivery.id)
        if delivery.suspected:
            self._suspects -= 1
            self._rests_until_s = time.monotonic() + REST_S
        return others_waited

    def is_crowded(self, receiver: str) -> bool:
        """True if as many of a receiver's runs as may wait for the upstream's answer about an unknown task."""
        return self._asking[receiver] >= max(1, self.options(receiver).concurrency // UNKNOWN_SHARE)

    @contextmanager
    def asking(self, receiver: str) -> Iterator[None]:
        """Count a run that waits for the upstream's answer about an unknown task, which is then known, or refuted."""
        self._asking[receiver] += 1
        try:
            yield
        finally:
            _count_down(self._asking, receiver)

    def room(self) -> Callable[[str], int]:
        """A function that returns how many more runs a receiver may have, as of now."""
        executing = self._executing.copy()
        return lambda name: self.options(name).concurrency - executing[name] - self._abandoned(name)

    def floor(self) -> Floor:
        """What is running now, which decides which deliveries may start."""
        return Floor(
            harmless=lambda name: self.options(name).harmless,
            is_free=all(self.options(name).harmless for name in self._running),
            has_suspect=self._suspects > 0,
            rests=time.monotonic() < self._rests_until_s,
        )

    def options(self, name: str) -> Options:
        """A receiver's options; the defaults if this process does not have it."""
        receiver = self._registry.get(name)
        return receiver.options if receiver is not None else DEFAULTS

    def longest_ms(self, name: str) -> int:
        """How long a run of a receiver may take; 0 for a receiver that cannot end the process."""
        options = self.options(name)
        return 0 if options.harmless else int(1000 * options.timeout_s)


def _count_down(counter: Counter[Key], key: Key) -> None:
    """Count one less, and forget what has come to nothing. `+counter` would copy all the rest."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
