"""uvicorn's HTTP/1.1 over httptools: limits all that a client controls, and answers clients that uvicorn leaves without a response.

**Limits.** httptools parses whatever it is given, so it is given only the bytes up to the end of one request. The rest waits until
the response has been sent and read, and meanwhile nothing is read from the socket. Where a request ends is not known before it is
parsed, so the input is split at empty lines: an empty line ends a head, or lies within a body. After each piece, the state of the
connection is read from uvicorn's attributes (`scope`, `cycle`, `flow`, `pipeline`), because parser callbacks would cost a quarter
of the speed. This relies on uvicorn's internals: see `VERIFIED_WITH`.

**Offers to upgrade are ignored**, and the body that follows them is read: see `upgrade.py`.

**A client that closes its sending side still gets its responses**, as RFC 9112, section 9.6, expects. Scripts that use `nc -N` or
PHP's `stream_socket_shutdown` rely on it. uvicorn alone would close the whole connection.
"""

from __future__ import annotations

from typing import Any

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hooks.http.bounded import Bounded
from hooks.http.connections import Connections, Phase
from hooks.http.flow import Flow
from hooks.http.tally import Refused
from hooks.http.upgrade import head_without_offer

VERIFIED_WITH = "0.54"
"""The minor version of uvicorn that this module was checked against; pyproject.toml allows no other."""

BODY_PIECE_BYTES = 256
"""The smallest piece of a body that is parsed at once. A request has at least 18 bytes, so at most 16 can hide in one piece."""

LARGEST_PIECE_BYTES = 32_768
"""The largest piece: a head that hides after the end of a body cannot be larger."""

SMALL_HEAD_BYTES = 800
"""A head of this size has fewer lines than `head_lines`, at four bytes a line."""


class Protocol(Bounded, HttpToolsProtocol):
    """A connection, parsed by httptools."""

    _rest = b""
    """Bytes that were read but wait for the response to an earlier request."""
    _extra_bytes = 0
    """Bytes of an incomplete head; in a body, what is not content; after a response, blank lines or the body's rest."""
    _head_bytes = 0
    """Bytes of the last complete head, which uvicorn holds."""
    _head_lines = 0
    _mistake: tuple[int, Refused, str] | None = None
    """How to refuse an invalid request that arrived while an earlier one was being answered. It is refused in its turn."""

    def __init__(self, watched: Connections, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self.watched = watched

    def connection_made(self, transport: Any) -> None:
        """Start handling a connection."""
        super().connection_made(transport)
        self.flow: Flow = Flow(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the connection, and the bytes that wait for their turn."""
        self._rest = b""
        super().connection_lost(exc)

    def waits_for(self) -> Phase:
        """Read the phase from uvicorn's state. uvicorn makes a scope when a head begins, and its cycle when the head is complete."""
        cycle = self.cycle
        if self._rest:
            return Phase.PIPELINED
        if cycle is None:
            return Phase.HEAD if self._extra_bytes else Phase.NEW
        if cycle.scope is not self.scope:
            return Phase.HEAD
        if cycle.more_body:
            return Phase.DRAINING if cycle.response_complete else Phase.BODY
        return Phase.IDLE if cycle.response_complete else Phase.ANSWERING

    @property
    def head_bytes(self) -> int:
        """Bytes of heads, and of requests that wait for their turn."""
        return self._extra_bytes + self._head_bytes + len(self._rest)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, or hold it until its turn."""
        self.watched.note_read(len(data))
        if self._is_refused or self._mistake:
            self.drop(data)
        elif self._rest:
            self._hold(self._rest + data)
        else:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        """Parse up to the end of one request, and hold the rest until that request is answered."""
        at, last = 0, len(data)
        while at < last:
            if self._mistake:
                self._rest = b""
                return
            if self._is_refused or self.transport.is_closing():
                at = last
                break
            cycle, scope = self.cycle, self.scope
            in_body = cycle is not None and cycle.more_body and cycle.scope is scope
            if not in_body and self._is_answering():
                break
            end = data.find(b"\r\n\r\n", at + BODY_PIECE_BYTES if in_body else at) + 4
            if end == 3:
                end = last
            if in_body:
                end = min(end, at + LARGEST_PIECE_BYTES)
            elif self._extra_bytes + end - at > SMALL_HEAD_BYTES and self._head_is_too_large(data, at, end):
                continue
            size = end - at
            # The usual case: parse a head and its body at once. Without another empty line no further request can be complete.
            if not in_body and last - at <= LARGEST_PIECE_BYTES and data.find(b"\r\n\r\n", end) < 0:
                end = last
            unread_bytes = len(cycle.body) if in_body else None
            self._parse(data if end - at == last else data[at:end])
            self._account(cycle, scope, size, unread_bytes)
            at = end
        if at < last or self.flow.is_held:
            self._hold(data[at:])

    def _is_answering(self) -> bool:
        """True while the response to the last request has not been sent completely, so that the next request waits."""
        return self.cycle is not None and (self.flow.write_paused or not self.cycle.response_complete)

    def _head_is_too_large(self, data: bytes, at: int, end: int) -> bool:
        limits, size = self.watched.limits, self._extra_bytes + end - at
        self._head_lines += data.count(b"\n", at, end)
        if size <= limits.head_bytes and self._head_lines <= limits.head_lines:
            return False
        self._refuse_head()
        return True

    def _refuse_head(self) -> None:
        most = f"{self.watched.limits.head_bytes} bytes and {self.watched.limits.head_lines} lines"
        self.refuse(431, "head_too_large", f"URL and headers may have {most}")

    def _parse(self, piece: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(piece)
        except HttpParserUpgrade as upgrade:
            self._ignore_upgrade(piece[upgrade.args[0] :])
        except HttpParserCallbackError:
            self._refuse_invalid("the request target is not a valid URL")
        except HttpParserError as error:
            self._refuse_invalid(str(error))

    def _account(self, cycle: Any, scope: Any, size: int, unread_bytes: int | None) -> None:
        """Count a parsed piece of `size` bytes. Before it: `cycle`, `scope`, and the body's `unread_bytes` (None without a body)."""
        now_at = self.cycle
        if now_at is None or now_at.scope is not self.scope:
            if not self._extra_bytes or self.scope is not scope:
                self._extra_bytes, self.since = 0, self.loop.time()
            # It is not known how much of the piece belongs to an earlier request.
            if now_at is cycle and unread_bytes is None:
                self._extra_bytes += size
        elif now_at is not cycle:
            self._begin_request(size)
        elif not now_at.more_body:
            self._end_body(size if unread_bytes is None else 0)
        else:
            content = len(now_at.body) - (unread_bytes or 0)
            self.body_bytes += content
            self._extra_bytes += size - content
            self._limit_body()

    def _begin_request(self, size: int) -> None:
        self._head_bytes = min(self._extra_bytes + size, self.watched.limits.head_bytes)
        self._extra_bytes = self._head_lines = 0
        self.body_bytes, self.since = len(self.cycle.body), self.loop.time()
        if len(self.headers) > self.watched.limits.head_lines:
            self._refuse_head()

    def _end_body(self, blank_bytes: int) -> None:
        """Handle the end of a body, or blank lines after a response, which must not prolong an idle connection."""
        if blank_bytes:
            self._extra_bytes += blank_bytes
        else:
            self._extra_bytes, self.since = 0, self.loop.time()
        if not self.cycle.response_complete:
            return
        # uvicorn has stopped its timer because data arrived.
        due = max(self.loop.time(), self.since + self.timeout_keep_alive)
        self.timeout_keep_alive_task = self.loop.call_at(due, self.timeout_keep_alive_handler)

    def _limit_body(self) -> None:
        """Limit chunk extensions and trailers, which are not content. A chunk of one byte needs five more bytes."""
        limits = self.watched.limits
        if self.cycle.response_complete:
            if self._extra_bytes > limits.drain_bytes:
                self.transport.close()
        elif (
            self._extra_bytes > limits.head_bytes + 8 * self.body_bytes
            or len(self.headers) > 2 * limits.head_lines
        ):
            self._refuse_invalid("the body has too many chunk extensions or trailers")

    def _hold(self, rest: bytes) -> None:
        """Hold the bytes that must wait and pause reading; resume reading if there are none."""
        self._rest = rest
        if rest:
            self.flow.is_held = True
            self.flow.pause_reading()
        elif self.flow.is_held:
            self.flow.is_held = False
            if self.cycle is None or len(self.cycle.body) <= HIGH_WATER_LIMIT:
                self.flow.resume_reading()

    def _go_on(self) -> None:
        """Parse the bytes that have waited for their turn."""
        if self._rest and not self.transport.is_closing():
            self._feed(self._rest)
            if self._sends_no_more and not self._rest and not self._stays_open():
                self.transport.close()

    def on_response_complete(self) -> None:
        """Go on to the next request, or close after the last response."""
        super().on_response_complete()
        # If the cycle is not complete, it is that of the next request, which was parsed already.
        if not self.cycle.response_complete or self.transport.is_closing():
            return
        self.since = self.loop.time()
        if self.cycle.more_body:
            self._extra_bytes = 0
        if self._mistake:
            self._hold(b"")
            self.refuse(*self._mistake)
        elif self._rest:
            self.loop.call_soon(self._go_on)
        elif self._sends_no_more:
            self.transport.close()

    def resume_writing(self) -> None:
        """Go on when the client has read its response."""
        super().resume_writing()
        self._go_on()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn closes the connection at once
        """Return True if the connection stays open until every complete request is answered."""
        self._sends_no_more = True
        return not self._is_refused and (bool(self._rest) or self._stays_open())

    def _stays_open(self) -> bool:
        """Return True if a client that sends no more still has a request to answer. A response that has begun does not count: it
        may be an endless stream whose reader has gone."""
        cycle = self.cycle
        if cycle is None or cycle.response_started:
            return False
        if cycle.more_body and not self.pipeline:
            self._refuse_invalid("the client closed the connection before the request was complete")
        return not cycle.more_body

    def _refuse_invalid(self, why: str) -> None:
        self.refuse(400, "invalid", f"Invalid HTTP request: {why}")

    def refuse(self, status: int, why: Refused, message: str) -> None:
        """Answer with an error and close, once earlier requests have been answered."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or (cycle.more_body and not self.pipeline):
            super().refuse(status, why, message)
        else:
            self._mistake = (status, why, message)
            self.flow.is_held = True
            self.flow.pause_reading()

    def on_headers_complete(self) -> None:
        """Start the request, unless it will be parsed a second time."""
        if not self._offers_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End the request, unless it will be parsed a second time."""
        if not self._offers_upgrade():
            super().on_message_complete()

    def _offers_upgrade(self) -> bool:
        """True if the request offers an upgrade. httptools treats CONNECT as an upgrade too, but CONNECT cannot be ignored."""
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Parse the request a second time, without its offer."""
        if not self._offers_upgrade():
            self.cycle.keep_alive = False
            return
        offered = b", ".join(value for name, value in self.headers if name == b"upgrade")
        self.watched.tally.count_upgrade(offered.decode("latin-1"))
        version = b"HTTP/" + self.parser.get_http_version().encode()
        request_line = b" ".join([self.parser.get_method(), self.url, version])
        self.parser = HttpRequestParser(self)
        # uvicorn sets this on its own parser too.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._parse(head_without_offer(request_line, self.headers) + rest)
