"""Thumbnails, quarters and sizes of pictures from outside, computed in a confined process.

Each function raises `NotAnImage` for a picture that cannot be read within the limits of pixels, memory and time, and `Broken` if the
process ended for another reason.
"""

from __future__ import annotations

import msgspec

from dispatcher.confined.frames import Refused
from dispatcher.confined.keeper import Confined
from dispatcher.pictures.questions import Quarters, Size, Thumbnail
from midjourney.image_data import NotAnImage

MEMORY_BYTES = 320 * 1024 * 1024
"""A WebP of 4096 x 4096 needs nearly all of this."""
PROCESSOR_S = 20.0
"""For one picture. Cutting 4096 x 4096 pixels of noise takes 6 s."""
WITHIN_S = 120.0
"""Wall-clock limit, long because the machine may be busy with other work."""

decoder = Confined(
    "dispatcher.pictures.decoding",
    subject="the picture",
    memory_bytes=MEMORY_BYTES,
    processor_s=PROCESSOR_S,
    within_s=WITHIN_S,
)
"""The only one: it decodes one picture at a time, so that a container with 512 MB has room for the server too."""


async def thumbnail(data: bytes, width: int) -> bytes:
    """A WebP of the first frame, at most `width` pixels wide."""
    return msgspec.msgpack.decode(await _ask(Thumbnail(data=data, width=width)), type=bytes)


async def quarters(data: bytes) -> list[bytes]:
    """The four quarters as PNG, in the order of U1 to U4."""
    return msgspec.msgpack.decode(await _ask(Quarters(data=data)), type=list[bytes])


async def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels."""
    return msgspec.msgpack.decode(await _ask(Size(data=data)), type=tuple[int, int])


async def _ask(question: Thumbnail | Quarters | Size) -> bytes:
    try:
        return await decoder.ask(msgspec.msgpack.encode(question))
    except Refused as error:
        raise NotAnImage(str(error)) from error
