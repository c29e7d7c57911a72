"""A body whose long texts are read from blobs while it is sent, so that it is never held as a whole."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing

import httpx
import msgspec

from midjourney.blob_texts import Blobs, Examined, Reference, as_in_json

JSON = "application/json"

_NAME = re.compile(rb'(?<=[",])blob:sha256:([0-9a-f]{64}):([0-9]{1,12})(?=")')

Written = Callable[[AsyncGenerator[bytes]], AsyncGenerator[bytes]]
"""What is sent of the pieces of a blob."""


class Part(msgspec.Struct, frozen=True):
    """A blob in a body: how it is written there, and how many bytes that are."""

    reference: Reference
    written: Written
    size: int


class StreamedBody(httpx.AsyncByteStream):
    """The body, from what is held of it and the blobs between that.

    Its length (`len`) is exact: a blob that is not what was examined ends the sending with `httpx.WriteError`, after which the request
    may have arrived, as with every error while it is sent.
    """

    def __init__(self, parts: Sequence[bytes | Part], blobs: Blobs, content_type: str = JSON) -> None:
        self._blobs = blobs
        self._parts = parts
        self.content_type = content_type
        self._size = sum(len(part) if isinstance(part, bytes) else part.size for part in parts)

    def __len__(self) -> int:
        return self._size

    @property
    def opening(self) -> bytes:
        """What stands before the first blob."""
        first = self._parts[0]
        assert isinstance(first, bytes), "a body begins with a brace, or with a boundary"
        return first

    async def rest(self) -> AsyncGenerator[bytes]:
        """The pieces behind `opening`."""
        for part in self._parts[1:]:
            if isinstance(part, bytes):
                yield part
                continue
            left = part.size
            async with aclosing(self._blob(part)) as pieces:
                async for piece in pieces:
                    left -= len(piece)
                    if left < 0:
                        break
                    yield piece
            if left:
                raise httpx.WriteError(f"{part.reference} changed while it was sent")

    async def _blob(self, part: Part) -> AsyncGenerator[bytes]:
        try:
            async with (
                aclosing(self._blobs.pieces(part.reference)) as stored,
                aclosing(part.written(stored)) as pieces,
            ):
                async for piece in pieces:
                    yield piece
        except Exception as error:  # whatever happens now, a part of the request has left
            raise httpx.WriteError(
                f"{part.reference} could not be read while it was sent: {error}"
            ) from error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """All of it, for httpx's own transport."""
        yield self.opening
        async with aclosing(self.rest()) as rest:
            async for piece in rest:
                yield piece


def json_body(text: bytes, examined: Mapping[Reference, Examined], blobs: Blobs) -> StreamedBody:
    """A body of JSON, from its text with the names of blobs in it. Only the blobs that were `examined` are put in."""
    parts: list[bytes | Part] = []
    end = 0
    for found in _NAME.finditer(text):
        reference = Reference(found[1].decode(), int(found[2]))
        if reference in examined:
            part = Part(reference, _in_json, examined[reference].escaped_bytes)
            parts += [text[end : found.start()], part]
            end = found.end()
    return StreamedBody([*parts, text[end:]], blobs)


async def _in_json(stored: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async for piece in stored:
        yield as_in_json(piece)
