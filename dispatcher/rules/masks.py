"""Masks for Vary (Region): the user's PNG, or a named region drawn at the size of the image. Pure except for `load_mask`.

White marks what may change, black what stays (section c of the protocol notes).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from dispatcher.pictures.drawing import rectangle
from dispatcher.pictures.questions import MOST_PIXELS
from dispatcher.plugins.errors import RuleError
from dispatcher.rules.spelling import nearest
from midjourney.files import inside, read_file
from midjourney.image_data import BadImage, Image, image_of_text

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, each as a fraction of the image."""

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
"""The known regions; the last two take any percentage."""


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a picture: a box, or everything outside it."""

    box: Box
    outside: bool = False

    def drawn(self, width: int, height: int) -> str:
        """Draw the mask for an image of this size in pixels, as a data URL. Raises `RuleError` if it has too many pixels."""
        if not (width > 0 and height > 0 and width * height <= MOST_PIXELS):
            raise RuleError(
                f"hookchain cannot draw a mask of {width} x {height} pixels; the limit is {MOST_PIXELS} pixels"
            )
        inside, around = (0, 255) if self.outside else (255, 0)
        left, top, right, bottom = self.box
        first = round(left * width), round(top * height)
        end = round(right * width), round(bottom * height)  # half of a one-pixel picture may be empty
        mask = rectangle((width, height), first, end, fill=inside, around=around)
        return Image(mask, "image/png").data_url


def load_mask(written: str, folders: Sequence[Path]) -> Region | str:
    """Read a rule's `mask`: a region, or a PNG as a data URL.

    A file's path is relative to the first of `folders`, and the file must be in one of them; without folders no file is read.

    Raises `RuleError`.
    """
    if region := _region(written.strip()):
        return region
    try:
        if written.startswith("data:"):
            image = image_of_text(written, what="the mask")
        elif not folders:
            raise RuleError(
                f"mask {written!r} is not a region, and files cannot be used here; "
                f"write a region or a data: URL.{nearest(written, NAMES)}"
            )
        elif not (real := inside(folders[0] / written, folders)).exists():
            raise RuleError(f"mask {written!r} is neither a PNG file nor a region.{nearest(written, NAMES)}")
        else:
            image = read_file(real)
    except OSError as error:  # such as a name that is too long
        raise RuleError(f"the mask {written[:80]!r} cannot be used: {error.strerror}") from error
    except BadImage as error:
        raise RuleError(f"the mask cannot be used: {error}") from error
    if image.media_type != "image/png":
        raise RuleError(
            f"mask {written!r} is {image.media_type}; a mask is a PNG, white where the picture may change"
        )
    return image.data_url


def _region(name: str) -> Region | None:
    if name in _BOXES:
        return Region(box=_BOXES[name])
    if not (sized := _SIZED.fullmatch(name)):
        return None
    share = int(sized[2]) / 100
    if sized[1] == "center":
        return (
            Region(box=(0.5 - share / 2, 0.5 - share / 2, 0.5 + share / 2, 0.5 + share / 2))
            if share
            else None
        )
    return Region(box=(share, share, 1 - share, 1 - share), outside=True) if 0 < share < 0.5 else None
