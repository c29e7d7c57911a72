"""Draws masks, which have two kinds of rows, as PNG: the format is a header, these rows deflated, and checksums. Pure.

Pillow would need a byte of memory for each of up to 18 million pixels, and 5 MB for itself.
"""

from __future__ import annotations

import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY_8_BIT = b"\x08\x00\x00\x00\x00"
"""Eight bits of grey; deflated, with the filters of the standard, not interlaced (https://www.w3.org/TR/png-3/#11IHDR)."""
_UNFILTERED = b"\x00"


def rectangle(
    size: tuple[int, int], first: tuple[int, int], end: tuple[int, int], *, fill: int, around: int
) -> bytes:
    """A grey PNG of `size`, with one rectangle from the pixel `first` up to before the pixel `end`; it may be empty."""
    (width, height), (left, top), (right, bottom) = size, first, end
    right, bottom = max(left, right), max(top, bottom)
    outside = _UNFILTERED + bytes((around,)) * width
    crossing = bytearray(outside)
    crossing[1 + left : 1 + right] = bytes((fill,)) * (right - left)
    deflate = zlib.compressobj()
    rows = [deflate.compress(row) for row in (outside,) * top]
    rows += [deflate.compress(row) for row in (crossing,) * (bottom - top)]
    rows += [deflate.compress(row) for row in (outside,) * (height - bottom)]
    header = struct.pack(">II", width, height) + _GREY_8_BIT
    pixels = b"".join(rows) + deflate.flush()
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
