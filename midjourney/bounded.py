"""Reads answers of other servers within bounds: bytes on the wire, bytes after decompression, and time.

Everything that is fetched is read here, so that no server decides how much memory or time an answer costs.

    TooMuch         the answer exceeds its bounds, or arrives in too many pieces
    TooLate         it did not end in time
    Unwanted        it has a media type that was not requested
    Undecipherable  its compression is not supported, or damaged
"""

from __future__ import annotations

import asyncio
import traceback
import zlib
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import httpx
import msgspec

from midjourney.slices import counting
from midjourney.steps import Leaving, Steps, at_once

PIECE_BYTES = 64 * 1024
"""How much is decompressed at a time, so that a decompression bomb is noticed before it fills the memory."""

HEAD_BYTES = 32 * 1024
"""Most bytes before the body, including informational answers (1xx). Known heads have 1 kB."""

FREE_PIECES = 1000
LEAST_PIECE_BYTES = 512
"""A body may arrive in `FREE_PIECES` pieces; in more, if they have at least `LEAST_PIECE_BYTES` on average. Each piece costs the same
time, however small it is. Over a network a piece has 1.4 kB, unless the server sends smaller ones."""

PIECES_A_TURN = 32
"""Pieces that are read before other tasks get a turn: 2 ms."""

_CODINGS = ("gzip", "x-gzip", "deflate")
_OF_THE_BODY = (b"content-type", b"content-length", b"content-encoding")
_NO_CODING = ("", "identity")

Send = Callable[[httpx.Request], Awaitable[httpx.Response]]
"""Sends a request and returns the answer with its body unread: `transport.handle_async_request`, or a streaming client."""

Progress = Callable[[int, int | None], None]
"""Called with the number of bytes received, and the expected number if the server announces it."""

Judge = Callable[[bytes], None]
"""Called with the beginning of the body; it may raise any error to stop the reading."""


Sink = Callable[[bytes], Awaitable[None]]
"""Takes the next part of the body, in order; it may raise any error to stop the reading."""

SINK_BYTES = 1024 * 1024
"""How much is collected for a sink."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one answer. `within_s` covers the whole answer, from the moment when the request has left; None: no limit.

    `unwanted`: prefixes of media types whose body is not read. `unpacks`: gzip and deflate are decompressed.
    """

    sent_bytes: int
    unpacked_bytes: int
    within_s: float | None
    unwanted: tuple[str, ...] = ()
    unpacks: bool = True


class BadAnswer(Exception):
    """An answer that exceeds its bounds. The message says how, without naming the server."""


class TooMuch(BadAnswer):
    """More bytes, or more pieces, than the bounds allow."""


class TooLate(BadAnswer):
    """The time was up before the answer had ended."""


class Unwanted(BadAnswer):
    """A media type that the bounds exclude."""


class Undecipherable(BadAnswer):
    """A content coding that is not supported, or damaged."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer, decompressed."""

    status: int
    headers: httpx.Headers
    content: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8, which all servers of the family use."""
        return self.content.decode("utf-8", "replace")


class Wire:
    """Counts the bytes that a connection receives for one answer: the head, and the body with its framing."""

    def __init__(self) -> None:
        self.bytes = 0
        self._most = HEAD_BYTES
        self._is_head = True

    def body_begins(self, bounds: Bounds) -> None:
        """Note that the head is complete. From now on, framing may take as many bytes as the body."""
        self._is_head = False
        self._most = self.bytes + HEAD_BYTES + 2 * bounds.sent_bytes

    def count(self, size: int) -> None:
        """Count received bytes. Raises `TooMuch`."""
        self.bytes += size
        if self.bytes > self._most:
            what = "its head has" if self._is_head else "including its framing it has"
            raise TooMuch(f"{what} more than {self._most} bytes")


class Intake:
    """Collects the body of one answer, piece by piece, within its bounds."""

    def __init__(self, headers: Mapping[str, str], bounds: Bounds) -> None:
        self._bounds = bounds
        kind = headers.get("content-type", "").strip().lower()
        if kind.startswith(bounds.unwanted) and bounds.unwanted:
            raise Unwanted(f"it is {kind.partition(';')[0]}")
        declared = headers.get("content-length", "")
        self.expected = int(declared) if declared.isascii() and declared.isdigit() else None
        if self.expected is not None and self.expected > bounds.sent_bytes:
            raise self._too_much(bounds.sent_bytes)
        coding = headers.get("content-encoding", "").strip().lower()
        self._unpacker = _unpacker(coding) if bounds.unpacks else None
        self._first = True
        self._is_deflate = coding == "deflate"
        self.sent_bytes = 0
        self.pieces = 0
        self.data = bytearray()

    def add(self, piece: bytes) -> None:
        """Add a received piece. Raises `BadAnswer`."""
        self.sent_bytes += len(piece)
        self.pieces += 1
        if self.pieces > FREE_PIECES + self.sent_bytes // LEAST_PIECE_BYTES:
            raise TooMuch(
                f"it arrives in more than {FREE_PIECES} pieces of less than {LEAST_PIECE_BYTES} bytes"
            )
        if self.sent_bytes > self._bounds.sent_bytes:
            raise self._too_much(self._bounds.sent_bytes)
        if self._unpacker is None:
            self._keep(piece)
            return
        if self._first and piece:
            self._first = False
            if self._is_deflate and piece[0] & 0x0F != 8:  # some servers send it without the zlib header
                self._unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        while piece and not self._unpacker.eof:
            try:
                self._keep(self._unpacker.decompress(piece, PIECE_BYTES))
            except zlib.error as error:
                raise Undecipherable(f"its compression is damaged: {error}") from error
            piece = self._unpacker.unconsumed_tail

    def taken(self) -> bytes:
        """Take out what has been collected."""
        taken = bytes(self.data)
        self.data.clear()
        return taken

    def end(self) -> bytes:
        """The whole body, or what was not taken out. Raises `Undecipherable` if the compressed data is incomplete."""
        if self._unpacker is not None and self.sent_bytes:
            try:
                while not self._unpacker.eof and (more := self._unpacker.decompress(b"", PIECE_BYTES)):
                    self._keep(more)
            except zlib.error as error:
                raise Undecipherable(f"its compression is damaged: {error}") from error
            if not self._unpacker.eof:
                raise Undecipherable("its compressed data is incomplete")
        return bytes(self.data)

    def _keep(self, unpacked: bytes) -> None:
        self.data += unpacked
        if len(self.data) > self._bounds.unpacked_bytes:
            raise self._too_much(self._bounds.unpacked_bytes)

    @staticmethod
    def _too_much(most: int) -> TooMuch:
        return TooMuch(f"it has more than {most} bytes")


def _unpacker(coding: str) -> zlib._Decompress | None:
    """A decompressor; None for an uncompressed body. Nested codings are not supported, because only bombs use them."""
    if coding in _NO_CODING:
        return None
    if coding not in _CODINGS:
        raise Undecipherable(f"it is compressed as {coding[:40]!r}, which was not requested")
    return zlib.decompressobj(zlib.MAX_WBITS if coding == "deflate" else 16 + zlib.MAX_WBITS)


async def exchange(
    send: Send,
    request: httpx.Request,
    bounds: Bounds,
    *,
    progress: Progress | None = None,
    judge: Judge | None = None,
    reads: Callable[[int], bool] = lambda _status: True,
    leaving: Leaving = at_once,
    sink: Sink | None = None,
) -> Answer:
    """Send a request and read its answer. If `reads` returns False for the status, the body is not read, and is b"". With a
    `sink` it is not kept: the sink gets it in parts of about `SINK_BYTES`.

    `leaving` is called before the first byte is written; an error that it raises keeps the request from leaving.

    Until the request has left, its own time-outs for pool, connection and writing apply. Raises `BadAnswer`, and the errors of
    `judge` and of httpx.
    """
    loop = asyncio.get_running_loop()
    wire = Wire()
    counted = counting.set(wire.count)
    try:
        async with asyncio.timeout(None) as clock:
            request.extensions["trace"] = Steps(
                leaving=leaving, written=partial(_start, clock, loop, bounds), received=wire.count
            )
            response = await send(request)
            wire.body_begins(bounds)
            if clock.when() is None:  # the transport knows no steps
                _start(clock, loop, bounds)
            try:
                content = (
                    await _body(response, bounds, progress, judge, sink)
                    if reads(response.status_code)
                    else b""
                )
            finally:
                await response.aclose()
    except BaseException as error:
        # The error refers to its frames, and they to everything received so far, which may be megabytes.
        traceback.clear_frames(error.__traceback__)
        if isinstance(error, TimeoutError) and clock.expired():
            raise TooLate(f"it did not end within {bounds.within_s} s") from error
        raise
    finally:
        counting.reset(counted)
    return Answer(status=response.status_code, headers=response.headers, content=content)


async def _body(
    response: httpx.Response,
    bounds: Bounds,
    progress: Progress | None,
    judge: Judge | None,
    sink: Sink | None,
) -> bytes:
    intake = Intake(_said_of_the_body(response.headers), bounds)
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for piece in response.stream:  # `aiter_raw` yields the same, at three times the cost
        intake.add(piece)
        if intake.pieces % PIECES_A_TURN == 0:
            await asyncio.sleep(0)
        if judge is not None:
            judge(bytes(intake.data[:64]))
        if progress is not None:
            progress(intake.sent_bytes, intake.expected)
        if sink is not None and len(intake.data) >= SINK_BYTES:
            await sink(intake.taken())
    rest = intake.end()
    if sink is None:
        return rest
    await sink(rest)
    return b""


def _said_of_the_body(headers: httpx.Headers) -> dict[str, str]:
    """The headers that `Intake` reads. Each look into httpx's headers takes as long as this one for all."""
    said: dict[str, str] = {}
    for name, value in headers.raw:
        if (lowered := name.lower()) in _OF_THE_BODY:
            key, text = lowered.decode("ascii"), value.decode("latin-1")
            said[key] = f"{said[key]}, {text}" if key in said else text
    return said


def _start(clock: asyncio.Timeout, loop: asyncio.AbstractEventLoop, bounds: Bounds) -> None:
    """Start the clock: the whole request has been written."""
    if bounds.within_s is not None:
        clock.reschedule(loop.time() + bounds.within_s)
