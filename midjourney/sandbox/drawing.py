"""Pictures that show what they are: the prompt on them, an upscale like its tile of the grid, a zoom around its parent.

A picture is wholly described by its name, so that nothing has to be kept and an old address still works after a
restart. What it grew from is its path: the root's work, then for each press the image it was about and the work it did.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from functools import lru_cache
from random import Random

import msgspec
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from midjourney.sandbox.buttons import GRIDS
from midjourney.sandbox.scenery import MOODS, Canvas, Mood, View, drawn, mixed

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


@lru_cache(maxsize=256)
def png(picture: Picture) -> bytes:
    """The picture as a PNG; the same bytes for the same picture."""
    size = size_of(picture)
    canvas = _grid(picture, size) if picture.work in GRIDS else drawn(_view(picture, 0), size)
    if picture.work in ("video", "clip"):
        side = min(size) // 6
        mask = Image.new("L", (side * 8, side * 8))
        ImageDraw.Draw(mask).ellipse((0, 0, side * 8, side * 8), fill=110)
        ImageDraw.Draw(mask).polygon((side * 3, side * 2, side * 3, side * 6, side * 6.3, side * 4), fill=240)
        canvas.paste((255, 255, 255), (size[0] // 2 - side, size[1] // 2 - side), mask.reduce(4))
    if picture.percent < 100:  # Midjourney's previews clear up
        canvas = canvas.filter(ImageFilter.GaussianBlur((100 - picture.percent) / 7))
        canvas = ImageEnhance.Color(canvas).enhance(picture.percent / 100)
    _write(canvas, picture.prompt)
    data = _saved(canvas)
    return data if len(data) < 140_000 else _saved(canvas.quantize(256))


def _saved(canvas: Canvas) -> bytes:
    data = io.BytesIO()
    canvas.save(data, "PNG")
    return data.getvalue()


def _grid(picture: Picture, size: tuple[int, int]) -> Canvas:
    canvas, wide, high = Image.new("RGB", size, "white"), size[0] // 2, size[1] // 2
    for number in (1, 2, 3, 4):
        tile = drawn(_view(picture, number), (wide - 1, high - 1))
        ImageDraw.Draw(tile).text(
            (6, 4), f"#{number}", fill="white", font=_font(12), stroke_width=1, stroke_fill="#333"
        )
        canvas.paste(tile, ((number - 1) % 2 * (wide + 1), (number - 1) // 2 * (high + 1)))
    return canvas


def _view(picture: Picture, number: int) -> View:
    """Image `number` of the picture: each press of its path changes the view before it."""
    path, family = picture.path, Random(f"{picture.seed} family")
    numbers = [*map(int, path[1::2]), number]
    first = (numbers[0] or 1) if _WORKS[path[0]] in GRIDS else 0
    world, mood = f"{picture.seed} {first}", family.sample(MOODS, 5)[first]
    motif, aspect = family.choice(("hills", "sea", "city")), picture.width / picture.height
    view = View(world=world, motif=motif, mood=mood, aspect=aspect, details=world)
    for at, chosen in enumerate(numbers[1:], 1):
        view = _pressed(view, _WORKS[path[2 * at]], chosen or 1, f"{picture.seed} {path[: 2 * at + 1]}")
    return view


def _pressed(view: View, work: str, number: int, seed: str) -> View:
    changed, details, half = msgspec.structs.replace, f"{seed} {number}", view.aspect * view.scale / 2
    known = (*view.known, (view.x - half, view.x + half, view.details))
    match work:
        case "zoom":
            return changed(view, scale=view.scale / 0.6, known=known, details=details)
        case "pan":
            return changed(view, x=view.x + half * 0.7, known=known, details=details)
        case "inpaint":
            balloon = (number, view.x + half * 0.4, 0.5 - view.scale * 0.16, view.scale * min(view.aspect, 1))
            return changed(view, balloons=(*view.balloons, balloon))
        case "enhance":
            return changed(view, fine=True)
        case _ if work in GRIDS:
            other = Random(details).choice(MOODS)
            mood = Mood(*(mixed(one, two, 0.25) for one, two in zip(view.mood, other, strict=True)))
            return changed(view, mood=mood, known=(), details=details)
    return view


def _write(canvas: Canvas, prompt: str) -> None:
    """The prompt in a band at the bottom, in three lines at most; what the font does not have is a dot."""
    letters = [letter if " " <= letter <= "~" or "¡" <= letter <= "ÿ" else "·" for letter in prompt]
    font, (width, height), lines = _font(14), canvas.size, [""]
    for word in "".join(letters[:LONGEST_PROMPT]).split():
        while font.getlength(word) > width - 16:
            word = f"{word.rstrip('…')[:-1]}…"
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if font.getlength(longer) <= width - 16 else [*lines, word]
    if lines[0]:
        area = (0, height - 18 * len(lines[:3]) - 8, width, height)
        canvas.paste(ImageEnhance.Brightness(canvas.crop(area)).enhance(0.35), area)
        text = "\n".join(lines[:3])
        ImageDraw.Draw(canvas).multiline_text((8, area[1] + 4), text, fill="white", font=font, spacing=4)


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
