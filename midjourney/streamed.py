"""A JSON body whose long texts are read from blobs while it is sent, so that it is never held as a whole."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing

import httpx

from midjourney.blob_texts import Blobs, Examined, Reference, as_in_json

_NAME = re.compile(rb'(?<=[",])blob:sha256:([0-9a-f]{64}):([0-9]{1,12})(?=")')


class StreamedBody(httpx.AsyncByteStream):
    """The body, from its JSON with the names of blobs in it. Only the blobs that were `examined` are put in.

    Its length (`len`) is exact: a blob that is not what was examined ends the sending with `httpx.WriteError`, after which the request
    may have arrived, as with every error while it is sent.
    """

    def __init__(self, text: bytes, examined: Mapping[Reference, Examined], blobs: Blobs) -> None:
        self._blobs = blobs
        self._examined = examined
        self._parts: list[bytes | Reference] = []
        end = 0
        for found in _NAME.finditer(text):
            reference = Reference(found[1].decode(), int(found[2]))
            if reference in examined:
                self._parts += [text[end : found.start()], reference]
                end = found.end()
        self._parts.append(text[end:])
        self._size = sum(
            len(part) if isinstance(part, bytes) else examined[part].escaped_bytes for part in self._parts
        )

    def __len__(self) -> int:
        return self._size

    @property
    def opening(self) -> bytes:
        """What stands before the first blob."""
        first = self._parts[0]
        assert isinstance(first, bytes), "a body begins with a brace"
        return first

    async def rest(self) -> AsyncGenerator[bytes]:
        """The pieces behind `opening`."""
        for part in self._parts[1:]:
            if isinstance(part, bytes):
                yield part
                continue
            left = self._examined[part].escaped_bytes
            async with aclosing(self._blob(part)) as pieces:
                async for piece in pieces:
                    left -= len(piece)
                    if left < 0:
                        break
                    yield piece
            if left:
                raise httpx.WriteError(f"{part} changed while it was sent")

    async def _blob(self, reference: Reference) -> AsyncGenerator[bytes]:
        try:
            async with aclosing(self._blobs.pieces(reference)) as pieces:
                async for piece in pieces:
                    yield as_in_json(piece)
        except Exception as error:  # whatever happens now, a part of the request has left
            raise httpx.WriteError(f"{reference} could not be read while it was sent: {error}") from error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """All of it, for httpx's own transport."""
        yield self.opening
        async with aclosing(self.rest()) as rest:
            async for piece in rest:
                yield piece
