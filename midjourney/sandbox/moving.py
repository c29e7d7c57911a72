"""Videos, as GIFs: each is a slow zoom into a picture. An MP4 would need an encoder."""

from __future__ import annotations

import io
from functools import lru_cache

from PIL import Image

from midjourney.sandbox import drawing
from midjourney.sandbox.drawing import Picture

LONGEST_SIDE = 160  # pixels
FRAMES = 8
FRAME_MS = 250


@lru_cache(maxsize=32)
def gif(picture: Picture, number: int) -> bytes:
    """The video with this number of a picture. The same ones give the same bytes; each number zooms at another pace."""
    with Image.open(io.BytesIO(drawing.png(picture))) as opened:
        still = opened.convert("RGB")
    wide, high = still.size
    part = LONGEST_SIDE / max(still.size)
    frames = []
    for frame in range(FRAMES):
        cut = 0.03 * frame * number / 4
        box = (wide * cut, high * cut, wide * (1 - cut), high * (1 - cut))
        frames.append(still.resize((int(wide * part), int(high * part)), box=box).quantize(64))
    data = io.BytesIO()
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0)
    return data.getvalue()
