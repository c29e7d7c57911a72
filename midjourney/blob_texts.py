"""Long texts that lie in files: the name by which a request refers to one, and what must be known of it before it is sent.

A text of 12 MB in a body is stored once, as a blob, and stands in the request as `blob:sha256:<its hash>:<its bytes>`. The blob is the text
itself in UTF-8, so that an image in it is a data URL or base64, exactly as a client sent it. Performs no I/O.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Protocol

import msgspec

from midjourney.errors import InvalidRequest, NotSent

PIECE_BYTES = 32 * 1024
"""How much of a blob is held at a time. JSON's escapes can make six times as much of it."""

START_BYTES = 128
"""How much of a blob is kept to recognise an image."""

_NAME = re.compile(r"blob:sha256:([0-9a-f]{64}):([0-9]{1,12})")
_DATA_URL = re.compile(r"data:image/[a-z]+;base64,")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_ESCAPED = {byte: rb"\u%04x" % byte for byte in range(32)} | {
    8: rb"\b",
    9: rb"\t",
    10: rb"\n",
    12: rb"\f",
    13: rb"\r",
    34: rb"\"",
    92: rb"\\",
}
_TO_ESCAPE = re.compile(rb'[\x00-\x1f"\\]')


class Reference(msgspec.Struct, frozen=True):
    """The hash of a blob (64 hexadecimal digits), and its length in bytes."""

    sha256: str
    size: int

    def __str__(self) -> str:
        return f"blob:sha256:{self.sha256}:{self.size}"


class Blobs(Protocol):
    """Where blobs are kept."""

    def pieces(self, reference: Reference) -> AsyncGenerator[bytes]:
        """The pieces of a blob, none of them longer than `PIECE_BYTES`. Raises `LookupError` if there is no such blob."""
        ...


class Examined(msgspec.Struct, frozen=True):
    """What was seen of a blob that has been read once: its beginning, its length within a JSON string, and whether it is base64
    (after the comma of a data URL, if it is one), and of how many bytes."""

    start: bytes
    escaped_bytes: int
    is_base64: bool
    decoded_bytes: int = 0


def reference_of(text: object) -> Reference | None:
    """The blob that a value refers to; None if it is anything else."""
    if isinstance(text, str) and len(text) < 100 and (found := _NAME.fullmatch(text)):
        return Reference(found[1], int(found[2]))
    return None


def blob_in(image: str) -> Reference | None:
    """The blob in an image field: alone, or behind the beginning of a data URL."""
    return reference_of(image.removeprefix(head.group()) if (head := _DATA_URL.match(image)) else image)


def references_in(value: object) -> list[Reference]:
    """The blobs that a value refers to at any depth, each once."""
    found: dict[Reference, None] = {}
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, msgspec.Struct):
            left += [getattr(part, name) for name in part.__struct_fields__]
        elif isinstance(part, Mapping):
            left += part.values()
        elif isinstance(part, list | tuple):
            left += part
        elif (reference := reference_of(part)) is not None:
            found[reference] = None
    return list(found)


def as_in_json(text: bytes) -> bytes:
    """A part of a text as it stands in a JSON string."""
    return _TO_ESCAPE.sub(lambda found: _ESCAPED[found[0][0]], text)


async def examine(blobs: Blobs, field: str, reference: Reference) -> Examined:
    """Read a blob once. Raises `InvalidRequest` if it is missing, or is not the text that was stored, and `NotSent` while
    it cannot be read."""
    digest, size, escaped_bytes, start = hashlib.sha256(), 0, 0, b""
    checker = _Base64()
    try:
        async for piece in blobs.pieces(reference):
            digest.update(piece)
            size += len(piece)
            escaped_bytes += len(as_in_json(piece))
            start += piece[: max(0, START_BYTES - len(start))]
            checker.add(piece)
    except LookupError as error:
        raise InvalidRequest(field, f"{reference} is not stored any more") from error
    except Exception as error:  # a disk or a database that is away: nothing has left
        raise NotSent(f"{field}: {reference} cannot be read: {error}") from error
    if (digest.hexdigest(), size) != (reference.sha256, reference.size):
        raise InvalidRequest(field, f"{reference} is damaged")
    return Examined(start, escaped_bytes, checker.is_valid, checker.decoded_bytes)


class _Base64:
    """Whether a text that comes in pieces is a base64 data URL or bare base64, padded or not."""

    def __init__(self) -> None:
        self._head: bytes | None = b""
        self._padding = self._characters = 0
        self._is_plain = True

    def add(self, piece: bytes) -> None:
        """Look at the next piece."""
        if self._head is not None:
            self._head += piece
            if b"data:".startswith(self._head[:5]) and len(self._head) < 5:
                return
            piece, self._head = self._head, None
            if piece.startswith(b"data:"):
                head, _, piece = piece.partition(b",")
                self._is_plain = head.endswith(b";base64")
        rest = piece.rstrip(b"=")
        self._is_plain = self._is_plain and not (rest and self._padding) and not rest.translate(None, _BASE64)
        self._padding += len(piece) - len(rest)
        self._characters += len(rest)

    @property
    def is_valid(self) -> bool:
        """True if all of it was. Padding that is missing is tolerated, as for images that are not blobs."""
        return self._is_plain and self._characters % 4 != 1 and self._padding <= 2

    @property
    def decoded_bytes(self) -> int:
        """How many bytes it stands for: four characters are three, and two or three at its end are one or two."""
        return self._characters * 3 // 4
