"""The shape that all loops have, written once: wait for a wake-up or the interval, take a turn, again.

A loop must not die of one bad turn (the disk full for a minute), nor spin on it: a failed turn is logged and the next
one waits. Stopping has stages: no new turns, what runs may finish, the rest is given back by the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, TypeVar, cast

import structlog

from storage.errors import NotDurable

log = structlog.get_logger("hookchain")

T = TypeVar("T")

POLL_S = 1.0
"""Seconds between turns that nothing woke: finds what became due, and whatever a lost wake-up left."""

FAILED_TURN_PAUSE_S = 1.0
"""Seconds after a turn that failed."""

STOP_WITHIN_S = 8.0
"""Seconds that running work gets when the process is asked to stop. Platforms kill after 10 to 30 (Heroku: 30)."""

CANCEL_AGAIN_S = 1.0
"""After which a cancellation that shows no effect is repeated. What is left to tidy up takes less."""

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def uptime_s() -> float:
    """Seconds on a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(_CLOCK)


async def until_durable(write: Callable[[], Awaitable[T]]) -> T:
    """Write what has happened already, however long the database refuses: what is done must not be forgotten."""
    while True:
        try:
            return await write()
        except NotDurable as error:
            log.error("the database takes nothing, trying again", why=str(error))
            await asyncio.sleep(FAILED_TURN_PAUSE_S)


async def in_thread(function: Callable[[], T]) -> T:
    """Run a blocking function in a thread of its own.

    Not in a pool: one that hangs for ever would take a place of it for ever, and keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return  # nobody waits any more: its time was up
        if error is not None:
            done.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))
        else:
            done.set_result(cast(T, result))

    def run() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as raised:  # handed to the one who waits
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it the interest
            loop.call_soon_threadsafe(finish, result, error)

    threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True, name="receiver").start()
    return await done


async def _end(tasks: Collection[asyncio.Task[Any]], deadline_s: float) -> None:
    """Wait for tasks until the deadline (monotonic), then cancel them, as often as it takes.

    asyncio.wait_for, by which psycopg waits, loses a cancellation that comes together with its result (Python 3.11).
    """
    late: Collection[asyncio.Task[Any]] = tasks
    within_s = max(0.0, deadline_s - time.monotonic())
    while late:
        _, late = await asyncio.wait(late, timeout=within_s)
        for task in late:
            task.cancel()
        within_s = CANCEL_AGAIN_S


class Loop:
    """One chore: `turn` is called when woken and every `POLL_S`."""

    def __init__(self, name: str, turn: Callable[[], Awaitable[None]], *, interval_s: float = POLL_S) -> None:
        self.name = name
        self._turn = turn
        self._interval_s = interval_s
        self._woken = asyncio.Event()
        self.is_stopping = False
        self.may_turn: Callable[[], bool] = lambda: True
        """Whether it is this process that does the chore; asked before each turn."""
        self._loop_task: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[Any]] = set()

    def wake(self) -> None:
        """There may be something to do."""
        self._woken.set()

    def wake_after(self, seconds: float) -> None:
        """There will be something to do by then. What is due later than a minute is found by looking."""
        if seconds <= 60:
            asyncio.get_running_loop().call_later(seconds, self._woken.set)

    @property
    def is_running(self) -> bool:
        """True between start and stop."""
        return self._loop_task is not None and not self._loop_task.done()

    def start(self) -> None:
        """Begin; the first turn comes at once."""
        self._woken.set()
        self._loop_task = asyncio.create_task(self._run(), name=self.name)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run one piece of work beside the loop. Its failure is logged; what it held is found by the next start."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._finished)

    async def stop(self, within_s: float = STOP_WITHIN_S) -> None:
        """Take no further turn, let running work finish for a while, then cancel it."""
        self.is_stopping = True
        self._woken.set()
        deadline_s = time.monotonic() + within_s
        if self._loop_task is not None:
            await _end([self._loop_task], deadline_s)
        await _end(self._running, deadline_s)

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._interval_s):
                    await self._woken.wait()
            except TimeoutError:
                pass  # nobody woke us: look anyway
            self._woken.clear()
            if self.is_stopping:
                return
            if not self.may_turn():
                continue
            try:
                await self._turn()
            except Exception as error:
                self._log(error, "turn failed")
                await asyncio.sleep(FAILED_TURN_PAUSE_S)
                self._woken.set()

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log(error, "work failed")

    def _log(self, error: BaseException, what: str) -> None:
        if isinstance(error, NotDurable):  # an outage, not a mistake in here: one line is enough
            log.error("the database takes nothing, trying again", loop=self.name, why=str(error))
        else:
            log.error(what, loop=self.name, exc_info=error)
