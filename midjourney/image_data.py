"""Images in the form in which submissions carry them: bytes of a known type, from a data URL or bare base64. Performs no I/O."""

from __future__ import annotations

import base64
import binascii

import msgspec

from midjourney.errors import ProtocolError

LARGEST_BYTES = 10 * 1024 * 1024
"""Discord's limit for attachments of free accounts: larger images fail after the submit was accepted."""

TYPES: tuple[tuple[str, bytes, bytes], ...] = (
    ("image/png", b"\x89PNG\r\n\x1a\n", b""),
    ("image/jpeg", b"\xff\xd8\xff", b""),
    ("image/gif", b"GIF8", b""),
    ("image/webp", b"RIFF", b"WEBP"),
)
"""Media type, the first bytes, and the bytes from offset 8."""

START_BYTES = 12
"""This many bytes suffice to recognise an image."""

EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp"}
"""File name extensions by media type."""


class BadImage(ProtocolError):
    """An image that cannot be sent; the message says which one and why."""


class NotAnImage(BadImage):
    """The bytes are not an image, or a damaged one."""


class TooLarge(BadImage):
    """More bytes than are allowed."""


class Image(msgspec.Struct, frozen=True):
    """An image's bytes, and the type that the bytes themselves show."""

    data: bytes
    media_type: str

    @property
    def base64(self) -> str:
        """The bytes as base64."""
        return base64.b64encode(self.data).decode()

    @property
    def data_url(self) -> str:
        """The form that nearly every endpoint requires: "data:image/png;base64,…"."""
        return f"data:{self.media_type};base64,{self.base64}"


def image_of_bytes(data: bytes, *, what: str = "the image", largest: int = LARGEST_BYTES) -> Image:
    """The image in these bytes. Raises `BadImage` if there are too many, `NotAnImage` if they are not those of an image."""
    if not data:
        raise NotAnImage(f"{what} is empty")
    if len(data) > largest:
        raise TooLarge(f"{what} has {len(data)} bytes; at most {largest} are allowed: make it smaller")
    for media_type, start, at_eight in TYPES:
        if data.startswith(start) and data[8:].startswith(at_eight):
            return Image(data, media_type)
    raise NotAnImage(f"{what} is not a PNG, JPEG, WebP or GIF")


def image_of_text(text: str, *, what: str = "the image", largest: int = LARGEST_BYTES) -> Image:
    """The image in a data URL, or in bare base64 of either alphabet. Raises `BadImage`."""
    head, comma, body = text.partition(",")
    if not head.startswith("data:"):
        body = text
    elif not comma or not head.endswith(";base64"):
        raise BadImage(f"{what} is a data URL without ;base64,")
    if len(body) > largest * 4 // 3 + 1024:
        raise BadImage(
            f"{what} has about {len(body) * 3 // 4} bytes; at most {largest} are allowed: make it smaller"
        )
    return image_of_bytes(_decoded(body, what), what=what, largest=largest)


def _decoded(body: str, what: str) -> bytes:
    packed = "".join(body.split()).rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadImage(f"{what} is neither a data URL nor base64") from error
