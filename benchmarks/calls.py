"""One keep-alive connection to a server, with one request under way, and how long each took."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httptools
import msgspec


class Answered(msgspec.Struct, frozen=True):
    """The status and body of an answer, and the milliseconds from the first byte of its request."""

    status: int
    body: bytes
    took_ms: float


class Caller(asyncio.Protocol):
    """A connection. `connected` makes one."""

    def __init__(self) -> None:
        self._parser: Any = None
        self._answer: asyncio.Future[Answered] | None = None
        self._body = bytearray()
        self._sent_at = 0.0

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport = transport
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        """Parse what arrives."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the answer's body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Hand the answer to the caller."""
        took_ms = (time.perf_counter() - self._sent_at) * 1000
        body = bytes(self._body)
        self._body.clear()
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(Answered(self._parser.get_status_code(), body, took_ms))

    def connection_lost(self, error: Exception | None) -> None:
        """Let the caller of a request that has no answer know."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("the server closed the connection"))

    def call(self, content: bytes) -> asyncio.Future[Answered]:
        """Send a request; the future has its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._sent_at = time.perf_counter()
        self.transport.write(content)
        return self._answer


async def connected(port: int) -> Caller:
    """Connect to a port of this machine."""
    _, caller = await asyncio.get_running_loop().create_connection(Caller, "127.0.0.1", port)
    return caller


def get(path: str, key: str) -> bytes:
    """A GET request of a client of the gateway."""
    return f"GET {path} HTTP/1.1\r\nhost: bench\r\nmj-api-secret: {key}\r\n\r\n".encode()


def post(path: str, body: object, key: str) -> bytes:
    """A POST request of a client of the gateway, with a JSON body."""
    content = msgspec.json.encode(body)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: bench\r\nmj-api-secret: {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content
