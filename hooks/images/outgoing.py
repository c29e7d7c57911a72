"""Sends large bodies in pieces: clients decide how fast they read, so the memory that unread bodies take is limited."""

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
"""The most that all bodies being sent may take together; a body that is sent to several clients counts once."""

PIECE_BYTES = 64 * 1024
"""What a connection is given at a time; for a slow client it holds little more."""

STALL_S = 30.0
"""How long a client may take to read one piece; after that the connection is closed."""


class Outgoing:
    """Counts the bytes of all bodies being sent."""

    def __init__(self, *, most_bytes: int = MOST_BYTES, stall_s: float = STALL_S) -> None:
        self._most_bytes = most_bytes
        self.stall_s = stall_s
        self._readers: dict[int, int] = {}
        self.held_bytes = 0

    @contextlib.contextmanager
    def hold(self, data: bytes) -> Iterator[None]:
        """Take room for a body while it is sent. Raises `Problem` 503 if there is none."""
        # Unique while the body is being sent, since it is alive then.
        key = id(data)
        if key not in self._readers:
            if self.held_bytes + len(data) > self._most_bytes:
                raise busy("Too many pictures are being sent")
            self.held_bytes += len(data)
        self._readers[key] = self._readers.get(key, 0) + 1
        try:
            yield
        finally:
            self._readers[key] -= 1
            if not self._readers[key]:
                del self._readers[key]
                self.held_bytes -= len(data)


class PiecewiseResponse(Response):
    """A response whose body is sent piece by piece, or a 503 if there is no room for it."""

    def __init__(
        self, data: bytes, outgoing: Outgoing, *, media_type: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__(headers={"content-length": str(len(data)), **headers}, media_type=media_type)
        self._data = data
        self._outgoing = outgoing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the body. Room is taken only here, so that a response that is never sent takes none."""
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
                log.info("a client did not read a picture to its end", sent=start, of=len(whole))
                # The server closes the connection because the response is incomplete.
                return


def busy(detail: str) -> Problem:
    """Return a 503 that no cache may store: there will be room again soon."""
    return Problem(
        503, f"{detail}; try again later", headers={"retry-after": "5", "cache-control": "no-store"}
    )
