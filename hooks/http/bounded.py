"""Deadlines of a connection's client, and how a request is refused; for both of uvicorn's HTTP/1.1 protocols."""

from __future__ import annotations

import asyncio
import http
import socket
import struct
from typing import Any

from hooks.http.connections import HAS_HUNG_UP, Connections, Phase
from hooks.http.tally import Refused

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with a time of 0: the kernel drops what the client has not read and frees the memory."""


class Bounded(asyncio.Protocol):
    """A connection with deadlines. A subclass lists it before one of uvicorn's protocols in its bases.

    Requests need no timers or parser callbacks: the phase of a connection is read from uvicorn's own state.
    """

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    server_state: Any
    cycle: Any
    flow: Any
    watched: Connections

    since = 0.0
    body_bytes = 0
    """Bytes of the current request's body that have arrived."""

    _is_refused = False
    """True once a refusal was sent. Data that still arrives is then dropped, so that the client can read the refusal."""
    _sends_no_more = False
    """True once the client has closed its sending side."""
    _dropped_bytes = 0
    _unsent_bytes = 0
    _unsent_since = 0.0

    def _has_hung_up(self) -> bool:
        return self._sends_no_more or self.transport.is_closing()

    @property
    def phase(self) -> Phase:
        """What the connection waits for; after a refusal, only for its end."""
        if self._is_refused:
            return Phase.NEW
        phase = self.waits_for()
        if phase >= Phase.PIPELINED and self.transport.get_write_buffer_size():
            return Phase.TAKING
        return phase

    def waits_for(self) -> Phase:
        """Return what the connection waits for, provided that no request was refused."""
        raise NotImplementedError

    @property
    def head_bytes(self) -> int:
        """Bytes of the head held in memory, complete or not."""
        raise NotImplementedError

    @property
    def held_bytes(self) -> int:
        """Bytes that the server holds for this connection, not counting its fixed cost."""
        body = len(self.cycle.body) if self.cycle is not None else 0
        return self.head_bytes + body + self.transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the first deadline. What is put into uvicorn's `app_state` is in the scope of each request, as `state`."""
        super().connection_made(transport)
        uvicorns: Any = self
        uvicorns.app_state = {**uvicorns.app_state, HAS_HUNG_UP: self._has_hung_up}
        self.since = self.loop.time()
        self.watched.add(self, self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching the connection."""
        self.watched.discard(self)
        super().connection_lost(exc)

    def check_deadlines(self, now: float) -> None:
        """Refuse or close the connection if its client is late. Called once a second."""
        limits, late = self.watched.limits, now - self.since
        if self._waits_for_client(now) or self.transport.is_closing():
            return
        match self.phase:
            case Phase.NEW if late >= (limits.drain_s if self._is_refused else limits.head_s):
                self.transport.close()
            case Phase.HEAD if late >= limits.head_s:
                self.refuse(
                    408, "head_too_slow", f"the request's head did not arrive within {limits.head_s:g} s"
                )
            case Phase.DRAINING if late >= limits.drain_s:
                self.transport.close()
            case Phase.BODY if self.flow.read_paused:
                # The client is not late: we have paused reading.
                self.since = now
            case Phase.BODY if late >= limits.body_s + self.body_bytes / limits.body_bytes_per_s:
                self.refuse(408, "body_too_slow", "the request's body arrived too slowly")

    def _waits_for_client(self, now: float) -> bool:
        """Return True if a response waits for the client to read it. Disconnect a client that reads nothing for too long."""
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent_bytes:
            self._unsent_bytes, self._unsent_since = unsent, now
        elif unsent and now - self._unsent_since >= self.watched.limits.answer_s:
            self.watched.tally.count_refused("answer_not_taken", "")
            self.reset()
        return unsent > 0

    def refuse(self, status: int, why: Refused, message: str) -> None:
        """Answer the current request with an error, then close. If its response has already begun, only close: an error cannot be
        inserted into it."""
        self.watched.tally.count_refused(why, message)
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started:
                self.reset()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        self._is_refused, self.since = True, self.loop.time()
        self.transport.write(self._refusal(status, message))
        if self._sends_no_more or not self.transport.can_write_eof():
            self.transport.close()
        else:
            self.transport.write_eof()

    def _refusal(self, status: int, message: str) -> bytes:
        body = message.encode("ascii", "replace")
        lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}".encode()]
        lines += [name + b": " + value for name, value in self.server_state.default_headers]
        lines += [b"content-type: text/plain; charset=utf-8", b"content-length: %d" % len(body)]
        return b"\r\n".join([*lines, b"connection: close", b"", body])

    def drop(self, data: bytes) -> None:
        """Drop what arrives after a refusal. Closing at once would keep a client that still sends from reading the refusal."""
        self._dropped_bytes += len(data)
        if self._dropped_bytes > self.watched.limits.drain_bytes:
            self.transport.close()

    def reset(self) -> None:
        """Close the connection at once."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()
