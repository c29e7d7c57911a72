"""Pictures that show what they are: the prompt on them, an upscale like its tile of the grid, a zoom around its parent.

A picture is wholly described by its name, so that nothing has to be kept and an old address still works after a
restart. What it grew from is its path: the root's work, then for each press the image it was about and the work it did.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import re
from colorsys import hls_to_rgb
from functools import lru_cache
from random import Random
from typing import TypeAlias

import msgspec
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from midjourney.sandbox import chance
from midjourney.sandbox.buttons import GRIDS

LONGEST_SIDE = 512  # pixels
LONGEST_PROMPT = 60  # characters on the picture, and in its name
LONGEST_PATH = 17  # the root and eight presses; older ones are forgotten

_LETTERS = {
    "imagine": "i",
    "blend": "b",
    "edit": "e",
    "variation": "v",
    "inpaint": "n",
    "zoom": "z",
    "pan": "p",
    "upscale": "u",
    "enhance": "h",
    "video": "m",
    "clip": "c",
    "swap": "w",
    "describe": "d",
    "shorten": "s",
}
_WORKS = {letter: work for work, letter in _LETTERS.items()}
_NAME = re.compile(
    r"[0-9a-f-]{36}_(?P<path>[a-z](?:[0-4][a-z]){0,8})_(?P<seed>\d{1,10})_(?P<percent>\d{1,3})"
    r"_(?P<width>\d{1,3})x(?P<height>\d{1,3})_(?P<prompt>[A-Za-z0-9_-]*)\.\d+"
)
Canvas: TypeAlias = Image.Image


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """What is drawn. `path` as `grown` makes it; `percent`: how clear it is; `width` and `height` are a ratio."""

    path: str
    seed: int
    percent: int = 100
    width: int = 1
    height: int = 1
    prompt: str = ""

    @property
    def work(self) -> str:
        """The last thing that was done."""
        return _WORKS[self.path[-1]]


def grown(path: str, number: int, work: str) -> str:
    """The path of what `work` makes of image `number` (0: of the whole) of the picture at `path`; "" is a root's."""
    longer = f"{path}{number}{_LETTERS[work]}" if path else _LETTERS[work]
    return longer if len(longer) <= LONGEST_PATH else longer[0] + longer[3:]


def ratio_of(prompt: str) -> tuple[int, int]:
    """The ratio that a prompt asks for with --ar, within 1:4 and 4:1."""
    found = re.search(r"--ar\s+(\d{1,3}):(\d{1,3})", prompt)
    width, height = (int(found[1]), int(found[2])) if found else (1, 1)
    return (width, height) if width and height and 0.25 <= width / height <= 4 else (1, 1)


def size_of(picture: Picture) -> tuple[int, int]:
    """Width and height in pixels."""
    longest = max(picture.width, picture.height)
    return LONGEST_SIDE * picture.width // longest, LONGEST_SIDE * picture.height // longest


def name_of(picture: Picture, job: str, step: int) -> str:
    """The file name without its ending; job and step make it another at every progress, as Discord's are."""
    prompt = base64.urlsafe_b64encode(picture.prompt[:LONGEST_PROMPT].encode()).decode().rstrip("=")
    ratio = f"{picture.width}x{picture.height}"
    return f"{job}_{picture.path}_{picture.seed}_{picture.percent}_{ratio}_{prompt}.{step}"


def picture_of(name: str) -> Picture | None:
    """The inverse of `name_of`; None for a name that is not one of ours."""
    found = _NAME.fullmatch(name)
    if found is None or not set(found["path"][::2]) <= _WORKS.keys():
        return None
    width, height = int(found["width"]), int(found["height"])
    try:
        prompt = base64.urlsafe_b64decode(found["prompt"] + "=" * (-len(found["prompt"]) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    if not (width and height and 0.25 <= width / height <= 4):
        return None
    return Picture(
        path=found["path"],
        seed=int(found["seed"]),
        percent=min(int(found["percent"]), 100),
        width=width,
        height=height,
        prompt=prompt,
    )


@lru_cache(maxsize=64)
def png(picture: Picture) -> bytes:
    """The picture as a PNG; the same bytes for the same picture."""
    size = size_of(picture)
    canvas = (
        _grid(picture.path, picture.seed, size)
        if picture.work in GRIDS
        else _single(picture.path, picture.seed, size)
    )
    if picture.percent < 100:  # Midjourney's previews clear up
        canvas = canvas.filter(ImageFilter.GaussianBlur((100 - picture.percent) / 8))
        canvas = ImageEnhance.Color(canvas).enhance(picture.percent / 100)
    _write(canvas, picture.prompt)
    data = io.BytesIO()
    canvas.quantize(128).save(data, "PNG")
    return data.getvalue()


def _grid(path: str, seed: int, size: tuple[int, int]) -> Canvas:
    width, height = size
    canvas = Image.new("RGB", size, "white")
    for number in (1, 2, 3, 4):
        left, top = (number - 1) % 2 * (width // 2 + 1), (number - 1) // 2 * (height // 2 + 1)
        tile = _tile(path, number, seed, (width // 2 - 1, height // 2 - 1))
        ImageDraw.Draw(tile).text(
            (6, 4), f"#{number}", fill="white", font=_font(13), stroke_width=1, stroke_fill="black"
        )
        canvas.paste(tile, (left, top))
    return canvas


def _single(path: str, seed: int, size: tuple[int, int]) -> Canvas:
    """One image: what the last work of the path made of the image it was about."""
    work = _WORKS[path[-1]]
    if len(path) == 1:
        return _scene(seed, 0, size)
    canvas = _image(path[:-2], int(path[-2]), seed, size)
    if work == "enhance":
        return canvas.filter(ImageFilter.UnsharpMask(4, 180, 2))
    if work in ("video", "clip"):
        width, height = size
        side = min(size) // 6
        middle = [(width // 2 - side // 2, height // 2 - side), (width // 2 - side // 2, height // 2 + side)]
        ImageDraw.Draw(canvas).polygon([*middle, (width // 2 + side, height // 2)], fill="white")
    return canvas


def _image(path: str, number: int, seed: int, size: tuple[int, int]) -> Canvas:
    """Image `number` of the picture at `path`; 0 is the whole of it, or the first of a grid."""
    if _WORKS[path[-1]] in GRIDS:
        return _tile(path, number or 1, seed, size)
    return _single(path, seed, size)


def _tile(path: str, number: int, seed: int, size: tuple[int, int]) -> Canvas:
    """One of a grid's four images: a scene of its own for a root, else its parent's image, changed in its own way."""
    if len(path) == 1:
        return _scene(seed, number, size)
    parent = _image(path[:-2], int(path[-2]), seed, size)
    rng = Random(chance.number(seed, path, number))
    match _WORKS[path[-1]]:
        case "zoom":
            return _zoomed(parent, size)
        case "pan":
            return _panned(parent, size, rng)
        case "inpaint":
            return _inpainted(parent, _scene(seed + 7, number, size), size)
        case _:
            return _varied(parent, size, rng)


def _zoomed(parent: Canvas, size: tuple[int, int]) -> Canvas:
    width, height = size
    around = ImageOps.mirror(parent).filter(ImageFilter.GaussianBlur(max(size) / 40))
    around = ImageEnhance.Brightness(around).enhance(0.8)
    around.paste(parent.resize((width * 3 // 5, height * 3 // 5)), (width // 5, height // 5))
    return around


def _panned(parent: Canvas, size: tuple[int, int], rng: Random) -> Canvas:
    shift = size[0] // 3 + rng.randrange(max(size[0] // 8, 1))
    canvas = ImageOps.mirror(parent)
    canvas.paste(parent, (-shift, 0))
    return canvas


def _inpainted(parent: Canvas, other: Canvas, size: tuple[int, int]) -> Canvas:
    width, height = size
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).ellipse((width // 2, height // 3, width, height), fill=255)
    return Image.composite(other, parent, mask.filter(ImageFilter.GaussianBlur(max(size) / 60)))


def _varied(parent: Canvas, size: tuple[int, int], rng: Random) -> Canvas:
    canvas = ImageEnhance.Color(parent).enhance(rng.uniform(0.7, 1.4))
    draw = ImageDraw.Draw(canvas)
    for _ in range(5):
        x, y, wide = rng.randrange(size[0]), rng.randrange(size[1] // 2), size[0] // 14
        draw.arc((x, y, x + wide, y + wide // 2), 180, 360, fill="black", width=2)
        draw.arc((x + wide, y, x + 2 * wide, y + wide // 2), 180, 360, fill="black", width=2)
    return canvas


def _scene(seed: int, number: int, size: tuple[int, int]) -> Canvas:
    """A landscape: a sky, a sun or moon, hills one behind the other. Seed and number decide all of it."""
    rng = Random(chance.number("scene", seed, number))
    hue = (seed % 360 + (number - 1) * 80) % 360
    width, height = size
    sky = ImageOps.colorize(
        Image.linear_gradient("L").resize(size), _colour(hue + 200, 0.35, 0.6), _colour(hue, 0.8, 0.8)
    )
    draw = ImageDraw.Draw(sky)
    radius, x, y = (
        height // rng.randint(7, 12),
        rng.uniform(0.15, 0.85) * width,
        rng.uniform(0.12, 0.45) * height,
    )
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(hue + 30, 0.92, 0.9))
    for layer in range(4):
        waves = [(rng.uniform(0.5, 3), rng.uniform(0, 6.3), rng.uniform(0.02, 0.07)) for _ in range(3)]
        level = 0.5 + layer * 0.13
        top = [
            (
                step,
                height
                * (
                    level + sum(high * math.sin(often * 6.3 * step / width + at) for often, at, high in waves)
                ),
            )
            for step in range(0, width + 4, 4)
        ]
        draw.polygon(
            [*top, (width, height), (0, height)],
            fill=_colour(hue + 160 + 12 * layer, 0.5 - layer * 0.11, 0.45),
        )
    return sky


def _write(canvas: Canvas, prompt: str) -> None:
    """The prompt in a band at the bottom; what the font does not have is a dot."""
    words = "".join(
        letter if letter.isascii() or "À" <= letter <= "ÿ" else "·" for letter in prompt[:LONGEST_PROMPT]
    )
    if not words.strip():
        return
    font, (width, height) = _font(15), canvas.size
    while words and font.getlength(words) > width - 16:
        words = f"{words.rstrip('…')[:-1]}…"
    band = Image.new("RGB", (width, 26), "black")
    canvas.paste(Image.blend(canvas.crop((0, height - 26, width, height)), band, 0.6), (0, height - 26))
    ImageDraw.Draw(canvas).text((8, height - 22), words, fill="white", font=font)


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _colour(hue: float, lightness: float, saturation: float) -> tuple[int, int, int]:
    red, green, blue = hls_to_rgb(hue % 360 / 360, lightness, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)
