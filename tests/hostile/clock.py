"""The upstream's time: real, and moved on by tests, so that nobody has to sleep until it is late enough."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Protocol

Job = Callable[[], None]


class Timer(Protocol):
    """A clock that knows what is due."""

    def now_s(self) -> float:
        """Seconds since the epoch."""

    def after(self, seconds: float, job: Job) -> None:
        """Run this once so much time has passed here."""


class Clock:
    """Jobs that are due later run in a thread of the clock, in order of their times."""

    def __init__(self) -> None:
        self._ahead_s = 0.0
        self._jobs: list[tuple[float, int, Job]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._is_running = True
        self._thread = threading.Thread(target=self._run, name="hostile-clock", daemon=True)
        self._thread.start()

    def now_s(self) -> float:
        """Seconds since the epoch, and as many more as the tests moved it on."""
        return time.time() + self._ahead_s

    def advance(self, seconds: float) -> None:
        """Move on; what is due by then starts."""
        with self._changed:
            self._ahead_s += seconds
            self._changed.notify_all()

    def after(self, seconds: float, job: Job) -> None:
        """Run this once so much time has passed here."""
        with self._changed:
            heapq.heappush(self._jobs, (self.now_s() + seconds, next(self._numbers), job))
            self._changed.notify_all()

    def stop(self) -> None:
        """Run nothing any more."""
        with self._changed:
            self._is_running = False
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            job()

    def _next(self) -> Job | None:
        with self._changed:
            while self._is_running:
                wait_s = self._jobs[0][0] - self.now_s() if self._jobs else None
                if wait_s is not None and wait_s <= 0:
                    return heapq.heappop(self._jobs)[2]
                self._changed.wait(wait_s)
        return None
