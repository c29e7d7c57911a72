"""All open connections of a server: checked once a second, and reduced if there are too many or they hold too much memory."""

from __future__ import annotations

import asyncio
import heapq
from enum import IntEnum
from typing import Protocol

from hooks.http.connection_limits import DEFAULTS, Limits, most_connections
from hooks.http.tally import Tally

LOOK_EVERY_S = 1.0

SHED_SHARE = 20
"""A full server closes one in this many connections together, so that sorting them costs little."""

NEWCOMERS_SHARE = 4
"""One in this many connections may be too new to judge."""


HAS_HUNG_UP = "hookchain.has_hung_up"
"""The key of `state` in a request's scope under which it has a function that returns True if the client has closed the connection, or at least
its sending side: the two look the same until an answer is written."""


class Phase(IntEnum):
    """What a connection waits for."""

    NEW = 0
    """The first byte, or the end of a connection whose request was refused."""
    HEAD = 1
    """The rest of a request's head."""
    IDLE = 2
    """The next request, after a response."""
    DRAINING = 3
    """The rest of a body whose response has been sent."""
    BODY = 4
    """The rest of a body."""
    TAKING = 5
    """The client, which has not read all of its response."""
    PIPELINED = 6
    """Our response, with further requests behind the current one. No known sender of callbacks pipelines."""
    ANSWERING = 7
    """Our response."""


_NEWCOMER = Phase.ANSWERING + 1


class Connection(Protocol):
    """What this module needs from a connection; the two HTTP protocols implement it."""

    since: float
    """When the phase began, by the loop's clock."""

    @property
    def phase(self) -> Phase:
        """What the connection waits for."""
        ...

    @property
    def held_bytes(self) -> int:
        """Bytes that the server holds for the connection."""
        ...

    def check_deadlines(self, now: float) -> None:
        """Refuse or close the connection if its client is late. `now` is by the loop's clock."""
        ...

    def reset(self) -> None:
        """Close the connection at once."""
        ...


class Connections:
    """The open connections of one server."""

    def __init__(self, limits: Limits = DEFAULTS) -> None:
        self.limits = limits
        self.tally = Tally()
        self.most = most_connections(limits)
        self._open: set[Connection] = set()
        self._read_bytes = 0
        self._is_watching = False

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        """Watch a new connection; close others if there are now too many."""
        if len(self._open) >= self.most:
            idlest = self._idlest(max(1, self.most // SHED_SHARE))
            self._shed(idlest)
            self.tally.count_shed("too_many", len(idlest))
        self._open.add(connection)
        if not self._is_watching:
            self._is_watching = True
            loop.call_later(LOOK_EVERY_S, self._watch, loop)

    def _idlest(self, count: int) -> list[Connection]:
        """Return the `count` connections to close first.

        First come connections without a complete request, oldest first, except the newest of them: an honest client may just have
        connected. Then come clients that keep us waiting. Last come those that wait for us, the longest-waiting at the very end:
        a client that sends request after request must not displace one whose callback is being stored.
        """
        by_age = sorted(self._open, key=lambda connection: connection.since)
        strangers = [connection for connection in by_age if connection.phase <= Phase.HEAD]
        newest = set(strangers[-(self.most // NEWCOMERS_SHARE) :])

        def rank(connection: Connection) -> tuple[int, float]:
            if connection in newest:
                return _NEWCOMER, connection.since
            phase = max(connection.phase, Phase.HEAD)
            return phase, -connection.since if phase >= Phase.PIPELINED else connection.since

        return heapq.nsmallest(count, by_age, key=rank)

    def discard(self, connection: Connection) -> None:
        """Stop watching a closed connection."""
        self._open.discard(connection)

    def note_read(self, count: int) -> None:
        """Count bytes that were read, so that memory is checked before a fast client can fill it between two regular checks."""
        self._read_bytes += count
        if self._read_bytes > self.limits.held_bytes // 2:
            self._limit_memory()

    def check(self, now: float) -> None:
        """Check all connections, and log what was counted. `now` is by the loop's clock."""
        for connection in tuple(self._open):
            connection.check_deadlines(now)
        self._limit_memory()
        self.tally.write_log(now)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self.check(loop.time())
        self._is_watching = bool(self._open)
        if self._is_watching:
            loop.call_later(LOOK_EVERY_S, self._watch, loop)

    def _limit_memory(self) -> None:
        """If the connections exceed their memory limit, close those that hold most until the rest hold half of it."""
        self._read_bytes = 0
        held = {connection: connection.held_bytes for connection in self._open}
        total = sum(held.values())
        if total <= self.limits.held_bytes:
            return
        largest = []
        for connection in sorted(held, key=held.__getitem__, reverse=True):
            if total <= self.limits.held_bytes // 2:
                break
            largest.append(connection)
            total -= held[connection]
        self._shed(largest)
        self.tally.count_shed("too_much_memory", len(largest))

    def _shed(self, connections: list[Connection]) -> None:
        for connection in connections:
            self._open.discard(connection)
            connection.reset()
