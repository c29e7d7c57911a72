"""uvicorn's HTTP/1.1 over h11, for systems without httptools: slower, with the same deadlines, limits and counters.

h11 itself does not parse requests ahead of their turn, ignores offers to upgrade, and bounds incomplete heads. Two things differ
from `protocol.py`: oversized trailers and chunk extensions get the same 400 as other invalid requests, and a client that closes
its sending side before the response gets no response.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from hooks.http.bounded import Bounded
from hooks.http.connections import Connections, Phase


class Protocol(Bounded, H11Protocol):
    """A connection, parsed by h11."""

    def __init__(self, watched: Connections, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self.watched = watched

    def waits_for(self) -> Phase:
        """Read the phase from h11's and uvicorn's state."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            if cycle is not None and cycle.more_body:
                return Phase.DRAINING
            if self.conn.trailing_data[0]:
                return Phase.HEAD
            return Phase.NEW if cycle is None else Phase.IDLE
        return Phase.BODY if cycle.more_body else Phase.ANSWERING

    @property
    def head_bytes(self) -> int:
        """Bytes that h11 holds."""
        return len(self.conn.trailing_data[0])

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived."""
        self.watched.note_read(len(data))
        before = (self.cycle, self.phase)
        if self._is_refused:
            self.drop(data)
        elif self._head_is_too_large(before[1], data):
            self.refuse(
                431, "head_too_large", f"URL and headers may have {self.watched.limits.head_bytes} bytes"
            )
        else:
            super().data_received(data)
            self.body_bytes += len(data)
            if (self.cycle, self.phase) != before:
                self.since, self.body_bytes = self.loop.time(), 0

    def _head_is_too_large(self, phase: Phase, data: bytes) -> bool:
        """True if the head exceeds its limit. h11 checks the size of a head only while the head is incomplete."""
        room = self.watched.limits.head_bytes - self.head_bytes
        return (
            phase in (Phase.NEW, Phase.HEAD, Phase.IDLE)
            and len(data) > room
            and data.find(b"\n\r\n", 0, room) < 0
        )

    def on_response_complete(self) -> None:
        """Start the next phase."""
        self.since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what h11 cannot parse, so that even a client which is still sending can read the refusal."""
        self.refuse(400, "invalid", msg)

    def _unsupported_upgrade_warning(self) -> None:
        offered = b", ".join(value for name, value in self.headers if name == b"upgrade")
        self.watched.tally.count_upgrade(offered.decode("latin-1"))
