"""Shortcuts past ASGI's messages: a body that has arrived whole, and an answer that is always the same.

They leave a request as uvicorn's `receive` and `send` do, in a tenth of the time. Where anything is unusual they do nothing, and the
caller goes ASGI's way. This relies on uvicorn's internals: see `VERIFIED_WITH` in protocol.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import Receive, Send

try:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
except ImportError:  # no httptools: h11 parses the requests, and all are answered ASGI's way
    _CYCLE: type | None = None
else:
    _CYCLE = RequestResponseCycle


def _cycle_of(function: Receive | Send) -> Any:
    """uvicorn's request, if this is its own `receive` or `send`."""
    cycle = getattr(function, "__self__", None)
    return cycle if type(cycle) is _CYCLE else None


def whole_body(receive: Receive) -> bytes | None:
    """The body of a request, if all of it has arrived, and nothing of it was received before."""
    cycle = _cycle_of(receive)
    if (
        cycle is None
        or cycle.more_body
        or cycle.waiting_for_100_continue
        or cycle.disconnected
        or cycle.response_complete
    ):
        return None
    cycle.flow.resume_reading()
    cycle.message_event.clear()
    body, cycle.body = bytes(cycle.body), bytearray()
    return body


class FixedAnswer:
    """An answer 200 that is always the same. It is encoded again only when uvicorn's own headers change: once a second."""

    def __init__(self, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self._headers = [*headers, (b"content-length", str(len(body)).encode())]
        self._body = body
        self._servers: list[tuple[bytes, bytes]] | None = None
        self._closes = False
        self._written = b""

    async def send(self, send: Send) -> None:
        """Answer a request."""
        if not self._is_written_by(send):
            await send({"type": "http.response.start", "status": 200, "headers": self._headers})
            await send({"type": "http.response.body", "body": self._body})

    def _is_written_by(self, send: Send) -> bool:
        """Write the whole answer at once. False if it must be sent ASGI's way."""
        cycle = _cycle_of(send)
        if (
            cycle is None
            or not cycle.keep_alive
            or cycle.flow.write_paused
            or cycle.disconnected
            or cycle.response_started
            or cycle.access_log
            or cycle.scope["method"] == "HEAD"
        ):
            return False
        if cycle.default_headers is not self._servers:
            self._encode(cycle.default_headers)
        if self._closes:
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(self._written)
        cycle.message_event.set()
        cycle.on_response()
        return True

    def _encode(self, servers: list[tuple[bytes, bytes]]) -> None:
        headers = [*servers, *self._headers]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self._written = b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n" + self._body
        self._closes = any(name.lower() == b"connection" for name, _ in headers)
        self._servers = servers
