"""Large bodies on their way out: whole, in pieces, and bounded together however slowly they are read."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Message

from hooks.images.outgoing import PIECE_BYTES, Outgoing, PiecewiseResponse

SCOPE = {"type": "http"}
BODY = bytes(range(256)) * (3 * PIECE_BYTES // 256) + b"rest"


async def nothing() -> Message:
    raise AssertionError("a picture has no use for a request's body")


class Reader:
    """The server's side of a connection: keeps what it is given, and stops taking at a number of messages."""

    def __init__(self, stops_after: int = 1000) -> None:
        self.messages: list[dict[str, Any]] = []
        self.stopped = asyncio.Event()
        self.goes_on = asyncio.Event()
        self._stops_after = stops_after

    async def send(self, message: Message) -> None:
        if len(self.messages) == self._stops_after:
            self.stopped.set()
            await self.goes_on.wait()
        self.messages.append(dict(message))

    @property
    def status(self) -> int:
        found: int = self.messages[0]["status"]
        return found

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.messages[1:])


def pieces(data: bytes, outgoing: Outgoing) -> PiecewiseResponse:
    return PiecewiseResponse(data, outgoing, media_type="image/png", headers={})


async def test_a_body_comes_whole_and_in_pieces() -> None:
    """None is larger than a piece; the last one says that it is the last."""
    outgoing, reader = Outgoing(), Reader()
    await pieces(BODY, outgoing)(SCOPE, nothing, reader.send)
    assert reader.body == BODY
    assert max(len(message["body"]) for message in reader.messages[1:]) == PIECE_BYTES
    assert [message["more_body"] for message in reader.messages[1:]] == [True, True, True, False]
    assert (b"content-length", str(len(BODY)).encode()) in reader.messages[0]["headers"]
    assert outgoing.held_bytes == 0


async def test_slow_readers_hold_so_much_together() -> None:
    """Those of one body count once; another one is a 503, until they have gone."""
    outgoing = Outgoing(most_bytes=len(BODY))
    slow = [Reader(stops_after=2) for _ in range(2)]
    sending = [asyncio.create_task(pieces(BODY, outgoing)(SCOPE, nothing, one.send)) for one in slow]
    await asyncio.gather(*(one.stopped.wait() for one in slow))
    assert outgoing.held_bytes == len(BODY)
    refused = Reader()
    await pieces(b"another", outgoing)(SCOPE, nothing, refused.send)
    assert refused.status == 503
    for one in slow:
        one.goes_on.set()
    await asyncio.gather(*sending)
    assert [one.body for one in slow] == [BODY, BODY]
    taken = Reader()
    await pieces(b"another", outgoing)(SCOPE, nothing, taken.send)
    assert (taken.status, taken.body, outgoing.held_bytes) == (200, b"another", 0)


async def test_a_reader_who_stops_is_left() -> None:
    """The answer stays incomplete, which makes the server close the connection; its room is free."""
    outgoing, reader = Outgoing(stall_s=0.05), Reader(stops_after=2)
    await pieces(BODY, outgoing)(SCOPE, nothing, reader.send)
    assert len(reader.body) == PIECE_BYTES
    assert outgoing.held_bytes == 0
