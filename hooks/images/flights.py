"""Shares work between everybody who requests it at the same time ("single flight"), with limits on concurrency and queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")


class Busy(Exception):
    """The queue is full, or the wait in it was too long; retrying later is right."""


class Flights(Generic[T]):
    """Runs at most `concurrent` flights at a time. At most `queued` others wait, each for at most `queue_timeout_s`. At most
    `waiters` callers wait for all of them together.

    A flight continues after its callers have left: it is short, and the next caller will probably want the same.
    """

    def __init__(self, *, concurrent: int, queued: int, waiters: int, queue_timeout_s: float) -> None:
        self._flights: dict[Hashable, asyncio.Task[T]] = {}
        self._semaphore = asyncio.Semaphore(concurrent)
        self._most_flights = concurrent + queued
        self._most_waiters = waiters
        self._queue_timeout_s = queue_timeout_s
        self.waiters = 0

    async def join(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Return or raise what `work` does, or join the flight that is already under way for `key`. Raises `Busy`."""
        flight = self._flights.get(key)
        if self.waiters >= self._most_waiters or (
            flight is None and len(self._flights) >= self._most_flights
        ):
            raise Busy(
                f"{len(self._flights)} are under way or queued, and {self.waiters} requests wait for them"
            )
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(self._fly(work))
            flight.add_done_callback(partial(self._landed, key))
        self.waiters += 1
        try:
            return await asyncio.shield(flight)
        finally:
            self.waiters -= 1

    async def aclose(self) -> None:
        """Cancel all flights."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _fly(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self._queue_timeout_s):
                await self._semaphore.acquire()
        except TimeoutError as error:
            raise Busy(f"none could start within {self._queue_timeout_s:g} s") from error
        try:
            return await work()
        finally:
            self._semaphore.release()

    def _landed(self, key: Hashable, flight: asyncio.Task[T]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            # Retrieves the exception, so that asyncio does not warn if all callers have left.
            flight.exception()
