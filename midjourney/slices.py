"""Reads connections in slices, so that no server can block the event loop for long.

httpx reads 64 kB at a time and processes all of it before other tasks get a turn: it may contain ten thousand chunks of one byte,
or thousands of informational answers (1xx), which httpx does not report.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, TypeVar

import httpcore
import httpx

Requester = TypeVar("Requester", bound=httpx.AsyncBaseTransport | httpx.AsyncClient)

SLICE_BYTES = 8 * 1024
"""Bytes processed in one turn: 16 ms in the worst case. 4 MB in such slices take no longer than in large ones."""

counting: ContextVar[Callable[[int], None] | None] = ContextVar("counting", default=None)
"""If set, it is called with the number of bytes of each read, including framing. It may raise any error to end the exchange."""


class Stream(httpcore.AsyncNetworkStream):
    """A connection that is read in slices."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read the next slice, after other tasks have had a turn."""
        await asyncio.sleep(0)
        data = await self._inner.read(min(max_bytes, SLICE_BYTES), timeout)
        if (count := counting.get()) is not None:
            count(len(data))
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """See httpcore."""
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        """See httpcore."""
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """The same connection, encrypted; slices and counts apply to the decrypted bytes."""
        return Stream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """See httpcore."""
        return self._inner.get_extra_info(info)


class Backend(httpcore.AsyncNetworkBackend):
    """Makes connections that are read in slices."""

    def __init__(self, inner: httpcore.AsyncNetworkBackend) -> None:
        self._inner = inner

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """See httpcore."""
        return Stream(await self._inner.connect_tcp(host, port, timeout, local_address, socket_options))

    async def sleep(self, seconds: float) -> None:
        """See httpcore."""
        await self._inner.sleep(seconds)


def in_slices(requester: Requester) -> Requester:
    """The same transport or client, with connections that are read in slices.

    httpx does not allow setting httpcore's network backend (0.28.1), so it is set in httpx's pool.
    `tests/midjourney/test_slices.py` fails if httpx renames its internals.
    """
    transports = (
        [requester._transport, *requester._mounts.values()]
        if isinstance(requester, httpx.AsyncClient)
        else [requester]
    )
    for transport in transports:
        pool = getattr(transport, "_pool", None)
        if isinstance(pool, httpcore.AsyncConnectionPool):
            pool._network_backend = Backend(pool._network_backend)
    return requester
