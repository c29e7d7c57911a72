"""What the confined process is asked about a picture. Kept apart from the decoding, so that only that process loads Pillow."""

from __future__ import annotations

import msgspec

MOST_PIXELS = 18_000_000
"""A 4x upscale has 17 million (4096 x 4096; 5824 x 2912). A file of a few kilobytes can claim billions. WebP needs
the most memory: four copies of four bytes per pixel."""


class Thumbnail(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A WebP of the first frame, `width` pixels wide, or less if the picture is smaller."""

    data: bytes
    width: int


class Quarters(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The quarters as PNG: left and right above, left and right below. An odd middle line goes right, or down."""

    data: bytes


class Size(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Width and height in pixels."""

    data: bytes
