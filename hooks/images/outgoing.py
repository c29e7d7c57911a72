"""Large bodies on their way out, sent in pieces: how fast they are read is not ours to say, how much they hold is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hooks.problems import Problem

log = structlog.get_logger("hookchain")

MOST_BYTES = 64 * 1024 * 1024
"""Bodies that are being sent, together; one that many read counts once."""

PIECE_BYTES = 64 * 1024
"""What is given to a connection at a time; it holds little more for a reader who is slow."""

STALL_S = 30.0
"""How long a reader may take for one piece; after that the connection is closed."""


class Outgoing:
    """Counts the bytes of what is being sent."""

    def __init__(self, *, most_bytes: int = MOST_BYTES, stall_s: float = STALL_S) -> None:
        self._most_bytes = most_bytes
        self.stall_s = stall_s
        self._readers: dict[int, int] = {}
        self.held_bytes = 0

    @contextlib.contextmanager
    def hold(self, data: bytes) -> Iterator[None]:
        """Room for a body while it is sent. Raises the 503 where there is none."""
        key = id(data)  # it is alive as long as somebody reads it
        if key not in self._readers:
            if self.held_bytes + len(data) > self._most_bytes:
                raise busy("more pictures are being sent than there is room for")
            self.held_bytes += len(data)
        self._readers[key] = self._readers.get(key, 0) + 1
        try:
            yield
        finally:
            self._readers[key] -= 1
            if not self._readers[key]:
                del self._readers[key]
                self.held_bytes -= len(data)


class Pieces(Response):
    """A body that is sent piece by piece, or a 503 where there is no room for it."""

    def __init__(
        self, data: bytes, outgoing: Outgoing, *, media_type: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__(headers={"content-length": str(len(data)), **headers}, media_type=media_type)
        self._data = data
        self._outgoing = outgoing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. The room for it is taken here, so that an answer that is never sent takes none."""
        try:
            with self._outgoing.hold(self._data):
                await self._send(send)
        except Problem as problem:
            await problem.response()(scope, receive, send)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        whole = memoryview(self._data)
        for start in range(0, len(whole), PIECE_BYTES):
            piece = bytes(whole[start : start + PIECE_BYTES])
            more = start + PIECE_BYTES < len(whole)
            try:
                async with asyncio.timeout(self._outgoing.stall_s):
                    await send({"type": "http.response.body", "body": piece, "more_body": more})
            except TimeoutError:
                log.info("a picture was not read to its end", sent=start, of=len(whole))
                return  # an answer that is not complete: the server closes the connection


def busy(detail: str) -> Problem:
    """503: in a while there is room again. Not to be remembered by any cache."""
    return Problem(
        503, f"{detail}; ask again in a while", headers={"retry-after": "5", "cache-control": "no-store"}
    )
