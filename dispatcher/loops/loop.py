"""The common part of all loops: wait for a wake-up or the interval, take a turn, repeat.

A failed turn (the disk full for a minute) must neither end a loop nor make it spin: it is logged, and the next turn waits. A loop
stops in stages: it takes no new turns, running work may finish, and the next start takes over what is left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, TypeVar

import structlog

from storage.errors import NotDurable

log = structlog.get_logger("hookchain")

T = TypeVar("T")

POLL_S = 1.0
"""Seconds between turns without a wake-up. They find what became due, and what a lost wake-up left."""

FAILED_TURN_PAUSE_S = 1.0
"""Seconds to wait after a failed turn."""

STOP_WITHIN_S = 8.0
"""Seconds that running work gets when the process is asked to stop. Platforms kill after 10 to 30 (Heroku: 30)."""

CANCEL_AGAIN_S = 1.0
"""Seconds after which a cancellation without effect is repeated. Cleaning up takes less."""


async def until_durable(write: Callable[[], Awaitable[T]]) -> T:
    """Write something that has already happened, and retry for as long as the database refuses, since it must not be lost."""
    while True:
        try:
            return await write()
        except NotDurable as error:
            log.error("the database refuses writes; hookchain tries again", why=str(error))
            await asyncio.sleep(FAILED_TURN_PAUSE_S)


async def _end(tasks: Collection[asyncio.Task[Any]], deadline_s: float) -> None:
    """Wait for tasks until the deadline (monotonic), then cancel them, repeatedly if necessary.

    asyncio.wait_for, which psycopg uses, loses a cancellation that arrives together with its result (Python 3.11).
    """
    late: Collection[asyncio.Task[Any]] = tasks
    within_s = max(0.0, deadline_s - time.monotonic())
    while late:
        _, late = await asyncio.wait(late, timeout=within_s)
        for task in late:
            task.cancel()
        within_s = CANCEL_AGAIN_S


class Loop:
    """One chore: calls `turn` after each wake-up, and at least every `interval_s`, or every `POLL_S`."""

    def __init__(
        self, name: str, turn: Callable[[], Awaitable[None]], *, interval_s: float | None = None
    ) -> None:
        self.name = name
        self._turn = turn
        self._interval_s = POLL_S if interval_s is None else interval_s
        self._woken = asyncio.Event()
        self.is_stopping = False
        self.may_turn: Callable[[], bool] = lambda: True
        """Returns True if this process does the chore; called before each turn."""
        self._loop_task: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[Any]] = set()

    def wake(self) -> None:
        """Take a turn soon: there may be something to do."""
        self._woken.set()

    def wake_after(self, seconds: float) -> None:
        """Take a turn then. Work that is due in more than a minute is found without a wake-up."""
        if seconds <= 60:
            asyncio.get_running_loop().call_later(seconds, self._woken.set)

    @property
    def is_running(self) -> bool:
        """True between start and stop."""
        return self._loop_task is not None and not self._loop_task.done()

    def start(self) -> None:
        """Start; the first turn comes at once."""
        self._woken.set()
        self._loop_task = asyncio.create_task(self._run(), name=self.name)

    @property
    def is_woken(self) -> bool:
        """True if a turn is due because of a wake-up."""
        return self._woken.is_set()

    @property
    def running(self) -> frozenset[asyncio.Task[Any]]:
        """What runs beside the loop."""
        return frozenset(self._running)

    async def take_turn(self) -> None:
        """Take one turn here and now, for a process that never starts the loop. Raises what the turn raises."""
        self._woken.clear()
        await self._turn()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work beside the loop. A failure is logged; the next start takes over what the work had claimed."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._finished)

    async def stop(self, within_s: float = STOP_WITHIN_S) -> None:
        """Take no further turns, let running work finish for a while, then cancel it."""
        self.is_stopping = True
        self._woken.set()
        deadline_s = time.monotonic() + within_s
        if self._loop_task is not None:
            await _end([self._loop_task], deadline_s)
        await _end(self._running, deadline_s)

    async def _run(self) -> None:
        while True:
            if not self._woken.is_set():  # under load it is, and needs no timer
                try:
                    async with asyncio.timeout(self._interval_s):
                        await self._woken.wait()
                except TimeoutError:
                    pass  # no wake-up: look anyway
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

    def _log(self, error: BaseException, message: str) -> None:
        if isinstance(error, NotDurable):  # an outage, not a bug: one line is enough
            log.error("the database refuses writes; hookchain tries again", loop=self.name, why=str(error))
        else:
            log.error(message, loop=self.name, exc_info=error)
