"""Parses the answers of one connection, one after another. Performs no I/O.

The parser goes on after an answer, and would take a forged second one for the answer to the next request. Whatever follows an answer
therefore makes the connection unusable (`is_dirty`).
"""

from __future__ import annotations

import httpx
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

MOST_HEADERS = 512
"""httpx's headers are a list that is searched from its start. Known answers have 30."""

_TOLERATED = {
    "lenient_headers": True,  # folded lines, control characters in a value
    "lenient_chunked_length": True,  # Content-Length beside chunks, which win
    "lenient_optional_cr_before_lf": True,
    "lenient_spaces_after_chunk_size": True,
    "lenient_keep_alive": True,  # what follows an early answer (1xx) that says `Connection: close`
}
"""What httpx reads too. Refusing it would lose answers to submissions that were paid for."""


class Answers:
    """The answer that is being received. `begin` prepares for the next one.

    `status` is 0 until the head is complete; early answers (1xx) are skipped. `parts` are the pieces of the body that nobody has taken.
    """

    def __init__(self) -> None:
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(**_TOLERATED)
        self.is_dirty = False
        self.begin("")
        self.is_complete = self.keeps_alive = True  # nothing is under way yet

    def begin(self, method: str) -> None:
        """Expect the answer to a request."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []
        self.unread_bytes = 0
        self.is_complete = False
        self.keeps_alive = False
        self._mistake = ""
        self._has_no_body = method == "HEAD"
        self._ends_with_the_connection = False

    def feed(self, data: memoryview) -> httpx.RemoteProtocolError | None:
        """Parse received bytes. Returns what is wrong with them, if anything."""
        if self._parser is None:
            return None
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._mistake = self._mistake or "the server changed to another protocol"
        except HttpParserError as error:
            if self.is_complete:
                self.is_dirty = True
            self._mistake = self._mistake or str(error)
        if self._mistake and not self.is_complete:
            return httpx.RemoteProtocolError(self._mistake)
        return None

    def end(self) -> httpx.RemoteProtocolError | None:
        """Note that the connection has ended. Returns an error if the answer is incomplete."""
        self.is_dirty = True
        if self.is_complete:
            return None
        if self._ends_with_the_connection:
            self.is_complete = True
            return None
        if not self.status:
            return httpx.RemoteProtocolError("Server disconnected without sending a response.")
        return httpx.RemoteProtocolError("the connection ended before the body did")

    def take(self) -> list[bytes]:
        """The pieces of the body that have arrived since the last call."""
        parts, self.parts, self.unread_bytes = self.parts, [], 0
        return parts

    def let_go(self) -> None:
        """Drop the parser: it and this object refer to each other, which keeps both until the garbage collector runs."""
        self._parser = None

    def on_message_begin(self) -> None:
        """Called by the parser."""
        if self.is_complete:
            self.is_dirty = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser, for trailers too."""
        if not self.status and not self.is_dirty:
            self.headers.append((name, value.strip()))

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        if self.is_dirty or self._parser is None:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self.headers.clear()
            return
        self._mistake = self._mistake or self._unusable(status)
        self.status = status
        self.keeps_alive = self._parser.should_keep_alive() and not self._has_no_body
        if self._has_no_body or status in (204, 304):
            self.is_complete = self._has_no_body and not self._mistake
            return
        names = {name.lower() for name, _ in self.headers}
        self._ends_with_the_connection = not names & {b"content-length", b"transfer-encoding"}

    def _unusable(self, status: int) -> str:
        if status < 200:
            return f"the server answered {status}, which was not requested"
        if len(self.headers) > MOST_HEADERS:
            return f"the head has more than {MOST_HEADERS} fields"
        codings = [value.lower() for name, value in self.headers if name.lower() == b"transfer-encoding"]
        if codings and codings != [b"chunked"]:
            return f"the transfer coding {b', '.join(codings)[:40]!r} is not supported"
        return ""

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        if not self.is_complete:
            self.parts.append(body)
            self.unread_bytes += len(body)

    def on_message_complete(self) -> None:
        """Called by the parser, for early answers too."""
        if self.status and not self._mistake:
            self.is_complete = True
