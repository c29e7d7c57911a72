"""PNGs that show what they are: which work made them, which image of four they are, how far they have come.

A picture is wholly described by its name, so that nothing has to be kept and an old URL still works after a restart.
"""

import re
import struct
import zlib
from colorsys import hls_to_rgb
from functools import lru_cache

import msgspec

from midjourney.sandbox.buttons import GRIDS

SIZE = 256  # pixels, width and height of every picture

_NAME = re.compile(r"[0-9a-f-]{36}_(?P<work>[a-z]+)_(?P<hue>\d{1,3})_(?P<number>\d)_(?P<percent>\d{1,3})_\d+")
_DIGITS = {  # 3 x 5 cells, row by row
    0: "####.##.##.####",
    1: ".#.##..#..#.###",
    2: "###..#####..###",
    3: "###..####..####",
    4: "#.##.####..#..#",
}
_GREY, _LIGHT = 0, 1  # indexes in the colour table; each tile adds two: its colour and a darker one


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """What is drawn. `hue`: degrees; `number`: which image of four, 0 for none; `percent`: the rest stays grey."""

    work: str
    hue: int
    number: int
    percent: int = 100
    prompt: str = ""
    depth: int = 0
    seed: int = 0
    ratio: str = "1:1"


def size_of(picture: Picture) -> tuple[int, int]:
    """Width and height in pixels."""
    return SIZE, SIZE


def tile_hue(work: str, hue: int, number: int) -> int:
    """Hue of image `number` in a picture: an imagine has four unlike colours, its offspring four shades of one."""
    if work not in GRIDS or number == 0:
        return hue
    return (hue + (number - 1) * (90 if work == "imagine" else 14)) % 360


def name_of(picture: Picture, job: str, step: int) -> str:
    """The file name; job and step make the URL change at every progress, as Discord's do."""
    return f"{job}_{picture.work}_{picture.hue}_{picture.number}_{picture.percent}_{step}"


def picture_of(name: str) -> Picture | None:
    """The inverse of `name_of`; None for a name that is not one of ours."""
    found = _NAME.fullmatch(name)
    if found is None or int(found["number"]) not in _DIGITS:
        return None
    return Picture(
        work=found["work"],
        hue=int(found["hue"]) % 360,
        number=int(found["number"]),
        percent=min(int(found["percent"]), 100),
    )


@lru_cache(maxsize=256)
def png(picture: Picture) -> bytes:
    """The picture as a PNG with a colour table, about 1 kB."""
    canvas = [bytearray(SIZE) for _ in range(SIZE)]
    colours = [_rgb(0, 0.45, 0.0), _rgb(0, 0.96, 0.0)]
    grid = picture.work in GRIDS
    half = SIZE // 2
    places = [(0, 0), (half, 0), (0, half), (half, half)] if grid else [(0, 0)]
    for place, (left, top) in enumerate(places, start=1):
        number = place if grid else picture.number
        hue = tile_hue(picture.work, picture.hue, number)
        colours += [_rgb(hue, 0.5, 0.6), _rgb(hue, 0.28, 0.6)]
        _tile(canvas, left, top, half if grid else SIZE, picture, number, colour=len(colours) - 2)
    return _encode(canvas, colours)


def _tile(
    canvas: list[bytearray], left: int, top: int, size: int, picture: Picture, number: int, *, colour: int
) -> None:
    unit = size // 16
    _fill(canvas, left, top, size, size, colour)
    for x, y, width, height in _PATTERNS.get(picture.work, ()):
        _fill(canvas, left + x * unit, top + y * unit, width * unit, height * unit, colour + 1)
    for cell, mark in enumerate(_DIGITS[number]):
        if mark == "#":
            x, y = left + (5 + cell % 3 * 2) * unit, top + (3 + cell // 3 * 2) * unit
            _fill(canvas, x, y, 2 * unit, 2 * unit, _LIGHT)
    missing = size * (100 - picture.percent) // 100
    _fill(canvas, left, top + size - missing, size, missing, _GREY)


_PATTERNS: dict[
    str, tuple[tuple[int, int, int, int], ...]
] = {  # darker boxes: x, y, width, height in 1/16 of a tile
    "imagine": ((0, 15, 16, 1), (15, 0, 1, 16)),
    "variation": tuple((0, y, 16, 1) for y in range(1, 16, 2)),
    "inpaint": ((8, 8, 8, 8),),
    "zoom": ((0, 0, 16, 2), (0, 14, 16, 2), (0, 0, 2, 16), (14, 0, 2, 16)),
    "pan": ((0, 0, 3, 16),),
    "enhance": ((1, 1, 14, 1), (1, 14, 14, 1)),
    "describe": tuple((x, 0, 1, 16) for x in range(1, 16, 2)),
}


def _fill(canvas: list[bytearray], left: int, top: int, width: int, height: int, colour: int) -> None:
    for row in canvas[top : top + height]:
        row[left : left + width] = bytes([colour]) * width


def _rgb(hue: int, lightness: float, saturation: float) -> bytes:
    return bytes(round(part * 255) for part in hls_to_rgb(hue / 360, lightness, saturation))


def _encode(canvas: list[bytearray], colours: list[bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 3, 0, 0, 0)  # 8 bits each, by colour table
    rows = b"".join(b"\0" + row for row in canvas)  # 0: no filter
    chunks = (
        (b"IHDR", header),
        (b"PLTE", b"".join(colours)),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
