"""httpx's interface to the pool: a request in, a response or one of httpx's errors out.

httpx.UnsupportedProtocol, LocalProtocolError            the request cannot be sent at all
httpx.PoolTimeout, ConnectTimeout, ConnectError          no connection: nothing has left
httpx.WriteTimeout, ReadTimeout, ReadError, RemoteProtocolError   the request may have arrived
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Coroutine
from typing import TypeVar

import httpx

from midjourney.steps import Steps
from midjourney.streamed import StreamedBody
from midjourney.transport.connection import Connection
from midjourney.transport.dial import Dialer, Origin
from midjourney.transport.pool import Pool

T = TypeVar("T")

_PORTS = {"http": 80, "https": 443}
_LINE = re.compile(rb"[A-Z]+ [\x21-\x7e]+ HTTP/1\.1")


class Transport(httpx.AsyncBaseTransport):
    """Sends requests over HTTP/1.1, without proxies. Close it with `aclose`; it cannot be used afterwards.

    Extensions of a request: `timeout` and `sni_hostname` as httpx has them, and `trace`, if it is a `Steps`. With `Steps`,
    `read` has no effect: whoever is told that the request has been written limits the time of the whole answer.
    """

    def __init__(self, limits: httpx.Limits, context: ssl.SSLContext) -> None:
        self._pool = Pool(limits)
        self._dialer = Dialer(context, self._pool.forget)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return its answer with the body unread."""
        stream, rest = request.stream, None
        if isinstance(stream, StreamedBody):
            body, rest, size = stream.opening, stream.rest(), len(stream)
        else:
            body = request.read() if isinstance(stream, httpx.SyncByteStream) else await request.aread()
            size = len(body)
        head, origin = _head(request, size), _origin(request)
        seconds = request.extensions.get("timeout") or {}
        trace = request.extensions.get("trace")
        steps = trace if isinstance(trace, Steps) else None
        connection = await self._pool.take(
            origin, self._dialer, wait_s=seconds.get("pool"), connect_s=seconds.get("connect")
        )
        loan = _Loan(self._pool, origin, connection, None if steps else seconds.get("read"))
        try:
            await connection.send(request.method, head, body, steps, seconds.get("write"), rest)
            status, headers = await loan.within(connection.head())
        except BaseException:
            loan.end()
            raise
        return httpx.Response(status, headers=headers, stream=loan)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class _Loan(httpx.AsyncByteStream):
    """The body of an answer. The connection goes back to the pool when the body, or the reading of it, has ended."""

    def __init__(self, pool: Pool, origin: Origin, connection: Connection, read_s: float | None) -> None:
        self._pool = pool
        self._origin = origin
        self._connection: Connection | None = connection
        self._read_s = read_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (connection := self._connection) is not None:
            parts = await self.within(connection.parts())
            for part in parts:
                yield part
            if not parts:
                self.end()

    async def aclose(self) -> None:
        self.end()

    def end(self) -> None:
        """Give the connection back. It is used again only if its answer has been received to its end."""
        if (connection := self._connection) is not None:
            self._connection = None
            self._pool.give_back(self._origin, connection, is_reusable=connection.is_reusable)

    async def within(self, step: Coroutine[None, None, T]) -> T:
        """Wait for a read, for as long as httpx's `read` allows."""
        if self._read_s is None:
            return await step
        try:
            async with asyncio.timeout(self._read_s):
                return await step
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"nothing was received for {self._read_s} s") from error


def _origin(request: httpx.Request) -> Origin:
    """Where a request goes. The certificate's name can differ from the host, which may be an address that has been checked."""
    url = request.url
    host = url.raw_host.decode("ascii")
    if url.scheme not in _PORTS or not host:
        raise httpx.UnsupportedProtocol(f"{str(url)[:80]!r} is not an http:// or https:// URL with a host")
    name = str(request.extensions.get("sni_hostname") or host) if url.scheme == "https" else ""
    return Origin(host, url.port or _PORTS[url.scheme], name)


def _head(request: httpx.Request, body_bytes: int) -> bytes:
    """The request line and the headers. Raises `httpx.LocalProtocolError` for what would end a line early, or a wrong length."""
    line = b"%b %b HTTP/1.1" % (request.method.encode(), request.url.raw_path)
    lines, declared = [line], b"0"
    for name, value in request.headers.raw:
        lines.append(name + b": " + value)
        lowered = name.lower()
        if lowered == b"content-length":
            declared = value
        elif lowered == b"transfer-encoding":
            raise httpx.LocalProtocolError("a request is sent with its length, not in chunks")
    lines.append(b"\r\n")
    head = b"\r\n".join(lines)
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
        raise httpx.LocalProtocolError("a header has a line break or a zero byte")
    if _LINE.fullmatch(line) is None:
        raise httpx.LocalProtocolError("the method or the path has characters that no request line may have")
    if declared != b"%d" % body_bytes:
        raise httpx.LocalProtocolError(f"Content-Length is not {body_bytes}")
    return head
