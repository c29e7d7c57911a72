"""A small WebP of a large picture, which may have been made to harm whoever decodes it. Pure, and slow: for a thread."""

from __future__ import annotations

import io

from PIL import Image as Pillow

from midjourney.image_data import BadImage, Image, NotAnImage

WIDTHS = (192, 384, 768)
"""Pixels: a card, a card on a dense screen, a preview. A fixed few, so that nobody can ask for a thousand of one picture."""

MOST_PIXELS = 64_000_000
MOST_PIXELS_WEBP = 24_000_000
"""A 4x upscale has 17 million; a file of some kilobytes can claim billions. Reading so many takes 570 MB at most (a
picture with a palette), as WebP 430 MB: that decoder makes three copies more."""

TALLEST = 4
"""Times its width a thumbnail is high at most: WebP ends at 16383 pixels, and a page long before."""

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
"""Pillow has some forty more decoders, and none of them is for what comes from outside."""

_WITH_PALETTE = ("1", "P", "PA")
"""Modes whose values are no colours: between two of them there is nothing."""


def thumbnail(data: bytes, width: int) -> Image:
    """The first frame, `width` pixels wide or, where it is smaller, as wide as it is.

    Raises `NotAnImage` for what cannot be read, and for what has too many pixels, before it is decoded.
    """
    try:
        with Pillow.open(io.BytesIO(data), formats=_FORMATS) as opened:
            across, down = opened.size
            most = MOST_PIXELS_WEBP if opened.format == "WEBP" else MOST_PIXELS
            if across * down > most:
                raise NotAnImage(f"the picture claims {across} x {down} pixels; at most {most} are read")
            return Image(_webp(opened, width), "image/webp")
    except BadImage:
        raise
    except (
        Exception
    ) as error:  # decoders raise what they like: OSError, SyntaxError, ValueError, struct.error …
        raise NotAnImage(f"the picture cannot be read: {str(error) or type(error).__name__}") from error


def _webp(opened: Pillow.Image, width: int) -> bytes:
    image = opened.convert("RGBA") if opened.mode in _WITH_PALETTE else opened
    image.thumbnail((width, TALLEST * width), reducing_gap=2.0)
    file = io.BytesIO()
    image.convert("RGBA" if image.has_transparency_data else "RGB").save(file, "WEBP", quality=80)
    return file.getvalue()
