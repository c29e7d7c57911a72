"""Work that is done once for everybody who wants it: so many at a time, so many in line, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")


class Busy(Exception):
    """There is no room in line, or the wait in it was too long; asking again in a while is right."""


class Flights(Generic[T]):
    """`at_once` are under way at a time and `in_line` wait, each for at most `patience_s`; `askers` wait for all of them.

    A flight goes on when those who asked for it have left: it is short, and the next one asks for the same.
    """

    def __init__(self, *, at_once: int, in_line: int, askers: int, patience_s: float) -> None:
        self._flights: dict[Hashable, asyncio.Task[T]] = {}
        self._places = asyncio.Semaphore(at_once)
        self._most_flights = at_once + in_line
        self._most_askers = askers
        self._patience_s = patience_s
        self.askers = 0

    async def join(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` gives or raises, or what is under way for `key` already. Raises `Busy`."""
        flight = self._flights.get(key)
        if self.askers >= self._most_askers or (flight is None and len(self._flights) >= self._most_flights):
            raise Busy(f"{len(self._flights)} are under way or wait, and {self.askers} wait for them")
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(self._fly(work))
            flight.add_done_callback(partial(self._landed, key))
        self.askers += 1
        try:
            return await asyncio.shield(flight)
        finally:
            self.askers -= 1

    async def aclose(self) -> None:
        """End what is under way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _fly(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self._patience_s):
                await self._places.acquire()
        except TimeoutError as error:
            raise Busy(f"nothing became free within {self._patience_s:g} s") from error
        try:
            return await work()
        finally:
            self._places.release()

    def _landed(self, key: Hashable, flight: asyncio.Task[T]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # looked at, even where everybody has left
