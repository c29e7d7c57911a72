"""Lends connections: a bounded number, in order of arrival, the newest idle one first.

A slot is the right to use one connection, or to make one. A slot that is given back goes to whoever has waited longest, and is in use
all the while: as long as somebody waits, no newcomer finds one.
"""

from __future__ import annotations

import asyncio
from collections import deque

import httpx

from midjourney.transport.connection import Connection
from midjourney.transport.dial import Dialer, Origin


class Pool:
    """The connections of one transport."""

    def __init__(self, limits: httpx.Limits) -> None:
        self._most = limits.max_connections
        self._most_idle = limits.max_keepalive_connections
        self._idle_s = limits.keepalive_expiry
        self._used = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: list[tuple[Origin, Connection]] = []
        """The newest one is the last."""
        self._all: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def take(
        self, origin: Origin, dialer: Dialer, *, wait_s: float | None, connect_s: float | None
    ) -> Connection:
        """A connection that is ready. Give it back with `give_back`.

        Raises `httpx.PoolTimeout`, `httpx.ConnectTimeout` or `httpx.ConnectError`: nothing has been sent.
        """
        if self._most is not None and self._used >= self._most:
            await self._turn(wait_s)
        else:
            self._used += 1
        try:
            self._must_be_open()
            return self._kept(origin) or await self._made(origin, dialer, connect_s)
        except BaseException:
            self._free()
            raise

    def give_back(self, origin: Origin, connection: Connection, *, is_reusable: bool) -> None:
        """End the loan of a connection. It is kept if it `is_reusable`, unless enough are kept already."""
        connection.finish()
        if (
            is_reusable
            and not self._is_closed
            and (self._most_idle is None or len(self._idle) < self._most_idle)
        ):
            self._keep(origin, connection)
        else:
            connection.close()
        self._free()

    async def aclose(self) -> None:
        """Close all connections. Whoever waits for one gets `httpx.ConnectError`."""
        self._is_closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(_closed())
        self._waiting.clear()
        self._idle.clear()
        ends = [connection.lost for connection in self._all]
        for connection in list(self._all):
            connection.close()
        if ends:
            await asyncio.wait(ends)

    def forget(self, connection: Connection) -> None:
        """Note that a connection has ended."""
        self._all.discard(connection)
        self._idle = [one for one in self._idle if one[1] is not connection]

    async def _turn(self, wait_s: float | None) -> None:
        """Wait for a slot."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(wait_s):
                await turn
        except BaseException as error:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif turn.done() and not turn.cancelled() and turn.exception() is None:
                self._free()  # it came at the moment when nobody waited for it any more
            if isinstance(error, TimeoutError):
                raise httpx.PoolTimeout(f"no connection became free within {wait_s} s") from error
            raise

    def _free(self) -> None:
        """Give a slot to the next one in line."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._used -= 1

    def _kept(self, origin: Origin) -> Connection | None:
        """The newest idle connection that can still be used. Those that cannot are closed."""
        now_s = asyncio.get_running_loop().time()
        for index in range(len(self._idle) - 1, -1, -1):
            if index >= len(self._idle) or self._idle[index][0] != origin:
                continue
            _, connection = self._idle.pop(index)
            if not self._is_old(connection, now_s) and connection.is_ready and connection.is_quiet():
                return connection
            connection.close()
        return None

    async def _made(self, origin: Origin, dialer: Dialer, connect_s: float | None) -> Connection:
        if self._most is not None and self._idle and self._used + len(self._idle) > self._most:
            self._idle.pop(0)[1].close()
        connection = await dialer.connect(origin, connect_s)
        self._all.add(connection)
        if self._is_closed or not connection.is_ready:
            connection.close()
            self._must_be_open()
            raise httpx.ConnectError("the server ended the connection, or sent data before the request")
        return connection

    def _keep(self, origin: Origin, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        connection.idle_since_s = loop.time()
        self._idle.append((origin, connection))
        if self._sweep is None and self._idle_s is not None:
            self._sweep = loop.call_later(self._idle_s, self._close_old)

    def _close_old(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        for _, connection in [one for one in self._idle if self._is_old(one[1], loop.time())]:
            connection.close()
        self._idle = [one for one in self._idle if not self._is_old(one[1], loop.time())]
        if self._idle and self._idle_s is not None:
            self._sweep = loop.call_at(self._idle[0][1].idle_since_s + self._idle_s, self._close_old)

    def _is_old(self, connection: Connection, now_s: float) -> bool:
        return self._idle_s is not None and now_s >= connection.idle_since_s + self._idle_s

    def _must_be_open(self) -> None:
        if self._is_closed:
            raise _closed()


def _closed() -> httpx.ConnectError:
    return httpx.ConnectError("the transport has been closed")
