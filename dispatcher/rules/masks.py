"""Masks for Vary (Region): a PNG of the user's, or a region by name, drawn to the size of the image. Pure but for `read`.

White is where the picture may change, black what stays (section c of the protocol notes).
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import msgspec
from PIL import Image as Pillow
from PIL import ImageDraw

from dispatcher.errors import RuleError
from dispatcher.spelling import nearest
from midjourney.image_data import BadImage, Image, image_of_bytes, image_of_text

LARGEST_SIDE = 8192
"""Pixels. A grid is 2048 wide, its largest upscale 4096."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as shares of the image."""

_BOXES: dict[str, Box] = {
    "left-half": (0, 0, 0.5, 1),
    "right-half": (0.5, 0, 1, 1),
    "top-half": (0, 0, 1, 0.5),
    "bottom-half": (0, 0.5, 1, 1),
    "center": (0.25, 0.25, 0.75, 0.75),
    "all": (0, 0, 1, 1),
}
_SIZED = re.compile(r"(border|center)\s+(\d{1,2})\s*%")

NAMES = (*_BOXES, "border 20%", "center 50%")
"""The regions there are; the percentage of the last two is free."""


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a picture: a box, or all outside of it."""

    box: Box
    outside: bool = False

    def drawn(self, width: int, height: int) -> str:
        """The mask for an image of this size in pixels, as a data URL."""
        if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
            raise ValueError(f"no mask is drawn for an image of {width} x {height} pixels")
        inside, around = (0, 255) if self.outside else (255, 0)
        mask = Pillow.new("L", (width, height), around)
        left, top, right, bottom = self.box
        first, last = (
            (round(left * width), round(top * height)),
            (round(right * width), round(bottom * height)),
        )
        if first[0] < last[0] and first[1] < last[1]:  # of a picture of one pixel there may be no half
            ImageDraw.Draw(mask).rectangle((*first, last[0] - 1, last[1] - 1), fill=inside)
        file = io.BytesIO()
        mask.save(file, "PNG")
        return Image(file.getvalue(), "image/png").data_url


def size_of(image: Image) -> tuple[int, int]:
    """Width and height in pixels. Raises `BadImage` for what only begins like an image."""
    try:
        with Pillow.open(io.BytesIO(image.data)) as opened:
            return opened.size
    except (OSError, Pillow.DecompressionBombError) as error:
        raise BadImage(f"the image cannot be read: {error}") from error


def load_mask(written: str, directory: Path | None) -> Region | str:
    """What a rule's `mask` means: a region, or a PNG as a data URL. Without a directory no file is looked for.

    Raises `RuleError`.
    """
    if region := _region(written.strip()):
        return region
    try:
        if written.startswith("data:"):
            found = image_of_text(written, what="the mask")
        elif directory is None:
            raise RuleError(
                f"mask {written!r} is no region, and no files are read here; "
                f"write a region or a data: address.{nearest(written, NAMES)}"
            )
        elif not (directory / written).is_file():
            raise RuleError(f"mask {written!r} is neither a PNG file nor a region.{nearest(written, NAMES)}")
        else:
            found = image_of_bytes((directory / written).read_bytes(), what=written)
    except (BadImage, OSError) as error:
        raise RuleError(f"the mask cannot be used: {error}") from error
    if found.media_type != "image/png":
        raise RuleError(f"mask {written!r} is {found.media_type}; a mask is a PNG, white where it may change")
    return found.data_url


def _region(name: str) -> Region | None:
    if name in _BOXES:
        return Region(box=_BOXES[name])
    if not (found := _SIZED.fullmatch(name)):
        return None
    share = int(found[2]) / 100
    if found[1] == "center":
        return (
            Region(box=(0.5 - share / 2, 0.5 - share / 2, 0.5 + share / 2, 0.5 + share / 2))
            if share
            else None
        )
    return Region(box=(share, share, 1 - share, 1 - share), outside=True) if 0 < share < 0.5 else None
