"""Makes connections: resolves the name, tries its addresses, and encrypts.

uvloop has no "happy eyeballs", so the addresses of a name race here: the next one starts when the one before has failed, or has taken
longer than `STAGGER_S` (RFC 8305).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import NamedTuple

import httpx

from midjourney.transport.connection import Connection

STAGGER_S = 0.25


class Origin(NamedTuple):
    """Where a connection leads to. `server_name` is the name that its certificate must have; "" without TLS."""

    host: str
    port: int
    server_name: str


class Dialer:
    """Makes connections. `on_lost` is called when one of them has ended."""

    def __init__(self, context: ssl.SSLContext, on_lost: Callable[[Connection], None]) -> None:
        context.set_alpn_protocols(["http/1.1"])
        self._context = context
        self._on_lost = on_lost

    async def connect(self, origin: Origin, within_s: float | None) -> Connection:
        """A new connection. Raises `httpx.ConnectError` or `httpx.ConnectTimeout`: nothing has been sent."""
        try:
            async with asyncio.timeout(within_s):
                return await self._first(origin, await _addresses(origin))
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"no connection within {within_s} s") from error
        except (OSError, ValueError) as error:  # ValueError: a name that DNS or TLS does not allow
            raise httpx.ConnectError(str(error) or type(error).__name__) from error

    async def _first(self, origin: Origin, addresses: Sequence[str]) -> Connection:
        """A connection to the address that is quickest."""
        if len(addresses) == 1:
            return await self._try(origin, addresses[0])
        left, errors = list(reversed(addresses)), list[BaseException]()
        running: set[asyncio.Task[Connection]] = set()
        made: list[Connection] = []
        try:
            while not made and (left or running):
                if left:
                    running.add(asyncio.create_task(self._try(origin, left.pop())))
                done, running = await asyncio.wait(
                    running, timeout=STAGGER_S if left else None, return_when=asyncio.FIRST_COMPLETED
                )
                _sort(done, made, errors)
            if not made:
                raise errors[0]
            return made.pop()
        finally:
            for task in running:
                task.cancel()
            if running:
                _sort(set((await asyncio.wait(running))[0]), made, errors)
            for connection in made:
                connection.close()

    async def _try(self, origin: Origin, address: str) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(self._on_lost),
            address,
            origin.port,
            ssl=self._context if origin.server_name else None,
            server_hostname=origin.server_name or None,
        )
        return connection


def _sort(done: set[asyncio.Task[Connection]], made: list[Connection], errors: list[BaseException]) -> None:
    for task in done:
        if task.cancelled():
            continue
        if (error := task.exception()) is not None:
            errors.append(error)
        else:
            made.append(task.result())


async def _addresses(origin: Origin) -> list[str]:
    """The addresses of a name, its families in turns; a literal address as it is."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, origin.host)
        except (OSError, ValueError):
            continue
        return [origin.host]
    entries = await asyncio.get_running_loop().getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    by_family: dict[int, list[str]] = {}
    for family_, _, _, _, address in entries:
        by_family.setdefault(family_, []).append(str(address[0]))
    return [one for one in chain.from_iterable(zip_longest(*by_family.values())) if one is not None]
