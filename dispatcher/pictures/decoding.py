"""Decodes pictures that may have been made to attack the decoder. Pure; runs in a confined process."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TypeVar

import msgspec
from PIL import Image as Pillow

from dispatcher.confined.frames import Refused
from dispatcher.pictures.questions import MOST_PIXELS, Quarters, Size, Thumbnail
from midjourney.image_data import BadImage, NotAnImage

T = TypeVar("T")

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
"""Pillow has some forty more decoders, which pictures from outside must not reach."""

TALLEST = 4
"""The largest height of a thumbnail, in multiples of its width: WebP ends at 16383 pixels, and a page long before."""

_WITH_PALETTE = ("1", "P", "PA")
"""Modes whose values are palette indices, which cannot be interpolated."""

_AS_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def answer(question: bytes) -> bytes:
    """Answer an encoded question in the confined process, with the MessagePack of its result. Raises `Refused`."""
    request = msgspec.msgpack.decode(question, type=Thumbnail | Quarters | Size)
    try:
        return msgspec.msgpack.encode(_result(request))
    except BadImage as error:
        raise Refused(str(error)) from error


def _result(request: Thumbnail | Quarters | Size) -> bytes | list[bytes] | tuple[int, int]:
    match request:
        case Thumbnail():
            return thumbnail(request.data, request.width)
        case Quarters():
            return quarters(request.data)
        case Size():
            return size(request.data)


def thumbnail(data: bytes, width: int) -> bytes:
    """See `Thumbnail`. Raises `NotAnImage`."""
    return _decoded(data, lambda opened: _webp(opened, width))


def quarters(data: bytes) -> list[bytes]:
    """See `Quarters`. Raises `NotAnImage`, also for a picture that is too small to have four."""
    return _decoded(data, _cut)


def size(data: bytes) -> tuple[int, int]:
    """See `Size`. Decodes only the header. Raises `NotAnImage`."""
    return _decoded(data, lambda opened: opened.size)


def _decoded(data: bytes, use: Callable[[Pillow.Image], T]) -> T:
    """Open a picture and apply `use`. A picture with too many pixels is refused before it is decoded."""
    try:
        with Pillow.open(io.BytesIO(data), formats=FORMATS) as opened:
            across, down = opened.size
            if across * down > MOST_PIXELS:
                raise NotAnImage(f"the picture claims {across} x {down} pixels; the limit is {MOST_PIXELS}")
            return use(opened)
    except (BadImage, MemoryError):
        raise
    except Exception as error:  # decoders raise anything: OSError, SyntaxError, ValueError, struct.error …
        raise NotAnImage(f"the picture cannot be read: {str(error) or type(error).__name__}") from error


def _webp(opened: Pillow.Image, width: int) -> bytes:
    image = opened.convert("RGBA") if opened.mode in _WITH_PALETTE else opened
    image.thumbnail((width, TALLEST * width), reducing_gap=2.0)
    file = io.BytesIO()
    image.convert("RGBA" if image.has_transparency_data else "RGB").save(file, "WEBP", quality=80)
    return file.getvalue()


def _cut(opened: Pillow.Image) -> list[bytes]:
    width, height = opened.size
    if width < 2 or height < 2:
        raise NotAnImage(f"a picture of {width} x {height} pixels is too small to be cut into quarters")
    image = opened if opened.mode in _AS_PNG else opened.convert("RGB")
    across, down = width // 2, height // 2
    boxes = [
        (0, 0, across, down),
        (across, 0, width, down),
        (0, down, across, height),
        (across, down, width, height),
    ]
    return [_png(image.crop(box)) for box in boxes]


def _png(image: Pillow.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
