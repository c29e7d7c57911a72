"""Inflates compressed bodies (Content-Encoding) piece by piece while they are read.

The reader stops as soon as it has read its limit, so a body of a kilobyte that would inflate to a gigabyte costs no more than the
limit. Several encodings (`gzip, deflate`) are undone in reverse order, and each step is bounded: a body may be small at both ends
and huge in between.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from starlette.types import Message, Receive

from hooks.problems import Problem, Refused

PIECE_BYTES = 65536
"""The most that is inflated at once."""

MOST_ENCODINGS = 3
"""The most encodings on one body. No known sender applies more than one."""

_ACCEPTED = "gzip, deflate"
_GZIP, _DEFLATE = ("gzip", "x-gzip"), ("deflate",)
_NONE = ("identity", "utf-8", "utf8")
"""Encodings that change nothing. The last two are a common mistake of senders, which mean the charset."""

_JSON_BEGINS = b'{["\xef'
"""First bytes of a body that a proxy has inflated without removing the header. gzip begins with another byte."""


class _Stage(Protocol):
    """Undoes one encoding."""

    name: str

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` inflates to, in pieces of at most `PIECE_BYTES`. Raises `Problem` if it is corrupt."""
        ...

    @property
    def is_complete(self) -> bool:
        """True if the end of the encoded body has arrived."""
        ...


def decoded(receive: Receive, headers: Iterable[tuple[bytes, bytes]], limit: int) -> Receive:
    """Return `receive`, or a wrapper of it that removes the body's encodings.

    Raises `Problem`: at once 415 for an unsupported encoding; while reading, 400 for a corrupt or truncated body, and 413 for one
    that has more than `limit` bytes as sent or between two encodings. The fully inflated body is not bounded here.
    """
    encodings = [value for name, value in headers if name == b"content-encoding"]
    if not encodings:
        return receive
    header = b",".join(encodings).decode("latin-1")
    names = [name for part in header.split(",") if (name := part.strip().lower()) and name not in _NONE]
    return (
        _Decoded(receive, [_stage(name) for name in reversed(_supported(names))], limit) if names else receive
    )


def _supported(names: list[str]) -> list[str]:
    for name in names:
        if name not in (*_GZIP, *_DEFLATE):
            shown = name if re.fullmatch(r"[\w.+-]{1,32}", name, re.ASCII) else "of this kind"
            raise _unsupported(
                f"Content-Encoding {shown} is not supported. Use gzip, deflate or no compression"
            )
    if len(names) > MOST_ENCODINGS:
        raise _unsupported(f"More than {MOST_ENCODINGS} encodings on one body are not supported")
    return names


def _unsupported(detail: str) -> Problem:
    return Refused(415, detail, why="encoding", headers={"accept-encoding": _ACCEPTED, "connection": "close"})


def _stage(name: str) -> _Stage:
    return _Gzip() if name in _GZIP else _Deflate()


class _Decoded:
    """An ASGI `receive` that wraps another one and removes encodings."""

    def __init__(self, receive: Receive, stages: Sequence[_Stage], limit: int) -> None:
        self._receive = receive
        self._stages = stages
        self._limit = limit
        self._passed = [0] * len(stages)
        self._pieces: Iterator[bytes] = iter(())
        self._is_last = False

    async def __call__(self) -> Message:
        """Return the next piece of the body."""
        while (piece := next(self._pieces, None)) is None:
            if self._is_last:
                self._check_end()
                return {"type": "http.request", "body": b"", "more_body": False}
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._is_last = not message.get("more_body", False)
            self._pieces = self._through(0, message.get("body", b""))
        return {"type": "http.request", "body": piece, "more_body": True}

    def _through(self, place: int, data: bytes) -> Iterator[bytes]:
        """Yield the pieces that this data becomes in the stages from index `place` on."""
        if place == len(self._stages):
            yield data
            return
        self._passed[place] += len(data)
        if self._passed[place] > self._limit:
            raise Refused(
                413,
                f"A callback may have at most {self._limit} bytes, including while it is compressed",
                why="too_large",
                headers={"connection": "close"},
            )
        for piece in self._stages[place].feed(data):
            yield from self._through(place + 1, piece)

    def _check_end(self) -> None:
        for stage in self._stages:
            if not stage.is_complete:
                raise Refused(400, f"The {stage.name} body is truncated: its end is missing", why="encoding")


class _Gzip:
    """gzip (RFC 1952), of one or several members. JSON that is not compressed at all passes unchanged."""

    name = "gzip"

    def __init__(self) -> None:
        self._member = zlib.decompressobj(31)
        self._began = False
        self._is_plain = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the inflated bytes."""
        if data and not self._began:
            self._began, self._is_plain = True, data[0] in _JSON_BEGINS
        if self._is_plain:
            yield data
            return
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(31)
            yield from _inflated(self._member, data, self.name)
            data = self._member.unused_data

    @property
    def is_complete(self) -> bool:
        """True if a member has ended and no other has begun after it."""
        return self._is_plain or self._member.eof


class _Deflate:
    """deflate as zlib writes it (RFC 1950), or raw (RFC 1951) as some senders write it."""

    name = "deflate"

    def __init__(self) -> None:
        self._start = b""
        self._stream: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the inflated bytes."""
        if self._stream is None:
            self._start += data
            if len(self._start) < 2:
                return
            data, self._start = self._start, b""
            # The two bytes of a zlib header have a checksum. A raw stream with a matching checksum would begin with a block that
            # no encoder writes.
            has_head = data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
            self._stream = zlib.decompressobj(15 if has_head else -15)
        elif self._stream.eof and data:
            raise _corrupt(self.name, "there is data after its end")
        yield from _inflated(self._stream, data, self.name)
        if self._stream.unused_data:
            raise _corrupt(self.name, "there is data after its end")

    @property
    def is_complete(self) -> bool:
        """True if the stream has ended."""
        return self._stream is not None and self._stream.eof


def _inflated(stream: zlib._Decompress, data: bytes, name: str) -> Iterator[bytes]:
    piece = b""
    # After a full piece, zlib may hold more output although no input is left.
    while (data or len(piece) == PIECE_BYTES) and not stream.eof:
        try:
            piece = stream.decompress(data, PIECE_BYTES)
        except zlib.error as error:
            raise _corrupt(name, str(error)) from error
        data = stream.unconsumed_tail
        if piece:
            yield piece


def _corrupt(name: str, why: str) -> Problem:
    return Refused(
        400, f"Content-Encoding says {name}, but the body is not valid {name}: {why}", why="encoding"
    )
