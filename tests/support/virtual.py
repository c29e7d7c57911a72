"""An event loop whose time passes only when there is nothing else to do, and clocks that follow it.

What others do in threads is done at once, so that nothing depends on how quick this machine is: minutes of polling cost as many
transactions as they have, and every figure is exact.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any, TypeVar
from unittest.mock import patch

from storage import clock

T = TypeVar("T")

BEGAN_S = 1_800_000_000.0
"""The first moment, in seconds since the epoch."""

HANGS_S = 60.0
"""Real seconds for which a thread may take: nothing here needs so long."""


class Times:
    """What the clocks say: `passed_s` on one that nobody sets, and the wall clock, which can be set."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.stepped_s = 0.0
        """By how much the wall clock was set ahead, or back."""

    def now_s(self) -> float:
        """The wall clock, as this machine's programs see it."""
        return BEGAN_S + self.passed_s + self.stepped_s

    def true_s(self) -> float:
        """The wall clock of everybody else."""
        return BEGAN_S + self.passed_s


class _Selector(selectors.SelectSelector):
    def __init__(self, times: Times) -> None:
        super().__init__()
        self._times = times

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        if timeout is None:
            found = super().select(HANGS_S)
            assert found, "nothing happens any more"
            return found
        found = super().select(0)
        if not found:
            self._times.passed_s += timeout
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time is that of `times`."""

    def __init__(self, times: Times) -> None:
        super().__init__(_Selector(times))
        self._times = times

    def time(self) -> float:
        """Seconds that have passed."""
        return self._times.passed_s

    def run_in_executor(  # type: ignore[override] # the stub's is overloaded by Python's version
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Done here and now, and no thread is started."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


@contextlib.contextmanager
def clocks_of(times: Times) -> Iterator[None]:
    """Let every clock of this process follow: what nobody can set, and what somebody may set."""

    def unset_s(*_: object) -> float:
        return times.passed_s + 1000

    def set_s(*_: object) -> float:
        return times.now_s()

    with (
        patch.object(time, "time", set_s),
        patch.object(time, "time_ns", lambda: int(times.now_s() * 1e9)),
        patch.object(time, "monotonic", unset_s),
        patch.object(time, "clock_gettime", unset_s),
    ):
        try:
            yield
        finally:
            clock.forget()  # of what was learned here: the next test without a database would go by it
