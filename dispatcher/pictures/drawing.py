"""Draws masks as PNG. Pillow is loaded by the first one: it takes 5 MB, and most servers draw none."""

from __future__ import annotations

import io


def rectangle(
    size: tuple[int, int], first: tuple[int, int], end: tuple[int, int], *, fill: int, around: int
) -> bytes:
    """A grey PNG of `size`, with one rectangle from the pixel `first` up to before the pixel `end`; it may be empty."""
    from PIL import Image, ImageDraw  # only here: see above

    mask = Image.new("L", size, around)
    if first[0] < end[0] and first[1] < end[1]:
        ImageDraw.Draw(mask).rectangle((*first, end[0] - 1, end[1] - 1), fill=fill)
    file = io.BytesIO()
    mask.save(file, "PNG")
    return file.getvalue()
