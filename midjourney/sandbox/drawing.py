"""Draw recognizable pictures: with the prompt on them, an upscale like its tile of the grid, a zoom around its parent.

A picture's name describes it completely, so nothing is stored and an old URL still works after a restart. The picture's
path lists its ancestry: the work of the root, then for each press the number of the image and the work.
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
from midjourney.sandbox.scenery import MOODS, Canvas, Mood, View, mix, render

LONGEST_SIDE = 512  # pixels
LONGEST_PROMPT = 60  # characters on the picture and in its name
LONGEST_PATH = 17  # the root and eight presses; older presses are dropped

_WORK_CODES = {
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
_WORKS = {letter: work for work, letter in _WORK_CODES.items()}
_NAME = re.compile(
    r"[0-9a-f-]{36}_(?P<path>[a-z](?:[0-4][a-z]){0,8})_(?P<seed>\d{1,10})_(?P<percent>\d{1,3})"
    r"_(?P<width>\d{1,3})x(?P<height>\d{1,3})_(?P<prompt>[A-Za-z0-9_-]*)\.\d+"
)


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A picture to draw.

    `path`: see `child_path`. `percent`: how clear it is, 100 for a finished picture. `width` and `height` are a ratio.
    """

    path: str
    seed: int
    percent: int = 100
    width: int = 1
    height: int = 1
    prompt: str = ""

    @property
    def work(self) -> str:
        """The kind of work that made the picture."""
        return _WORKS[self.path[-1]]


def child_path(path: str, number: int, work: str) -> str:
    """The path of the picture that `work` makes from image `number` (0: the whole picture) of the picture at `path`.

    A `path` of "" gives the path of a root.
    """
    longer = f"{path}{number}{_WORK_CODES[work]}" if path else _WORK_CODES[work]
    return longer if len(longer) <= LONGEST_PATH else longer[0] + longer[3:]


def ratio_of(prompt: str) -> tuple[int, int]:
    """The ratio that a prompt sets with --ar, if it is between 1:4 and 4:1; else 1:1."""
    match = re.search(r"--ar\s+(\d{1,3}):(\d{1,3})", prompt)
    width, height = (int(match[1]), int(match[2])) if match else (1, 1)
    return (width, height) if width and height and 0.25 <= width / height <= 4 else (1, 1)


def size_of(picture: Picture) -> tuple[int, int]:
    """Width and height in pixels."""
    longest = max(picture.width, picture.height)
    return LONGEST_SIDE * picture.width // longest, LONGEST_SIDE * picture.height // longest


def name_of(picture: Picture, job: str, step: int) -> str:
    """The file name without its extension. Job and step make it different at every progress, as on Discord."""
    prompt = base64.urlsafe_b64encode(picture.prompt[:LONGEST_PROMPT].encode()).decode().rstrip("=")
    ratio = f"{picture.width}x{picture.height}"
    return f"{job}_{picture.path}_{picture.seed}_{picture.percent}_{ratio}_{prompt}.{step}"


def videos_of(work: str) -> int:
    """How many videos a kind of work makes: "Animate" makes four, of which its U1 to U4 show one."""
    return {"video": 4, "clip": 1}.get(work, 0)


def parse_name(name: str) -> Picture | None:
    """The picture of a name from `name_of`; None for any other name."""
    match = _NAME.fullmatch(name)
    if match is None or not set(match["path"][::2]) <= _WORKS.keys():
        return None
    width, height = int(match["width"]), int(match["height"])
    try:
        prompt = base64.urlsafe_b64decode(match["prompt"] + "=" * (-len(match["prompt"]) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    if not (width and height and 0.25 <= width / height <= 4):
        return None
    return Picture(
        path=match["path"],
        seed=int(match["seed"]),
        percent=min(int(match["percent"]), 100),
        width=width,
        height=height,
        prompt=prompt,
    )


@lru_cache(maxsize=256)
def png(picture: Picture) -> bytes:
    """The picture as a PNG. The same picture gives the same bytes."""
    size = size_of(picture)
    canvas = _grid(picture, size) if picture.work in GRIDS else render(_view(picture, 0), size)
    if picture.work in ("video", "clip"):
        side = min(size) // 6
        mask = Image.new("L", (side * 8, side * 8))
        ImageDraw.Draw(mask).ellipse((0, 0, side * 8, side * 8), fill=110)
        ImageDraw.Draw(mask).polygon((side * 3, side * 2, side * 3, side * 6, side * 6.3, side * 4), fill=240)
        canvas.paste((255, 255, 255), (size[0] // 2 - side, size[1] // 2 - side), mask.reduce(4))
    # Midjourney's previews get clearer with progress.
    if picture.percent < 100:
        canvas = canvas.filter(ImageFilter.GaussianBlur((100 - picture.percent) / 7))
        canvas = ImageEnhance.Color(canvas).enhance(picture.percent / 100)
    _write(canvas, picture.prompt)
    data = _saved(canvas)
    return data if len(data) < 140_000 else _saved(canvas.quantize(256))


def _saved(canvas: Canvas) -> bytes:
    data = io.BytesIO()
    canvas.save(data, "PNG", compress_level=4)  # 5 % larger than with 6, and in half the time
    return data.getvalue()


def _grid(picture: Picture, size: tuple[int, int]) -> Canvas:
    canvas, wide, high = Image.new("RGB", size, "white"), size[0] // 2, size[1] // 2
    for number in (1, 2, 3, 4):
        tile = render(_view(picture, number), (wide - 1, high - 1))
        ImageDraw.Draw(tile).text(
            (6, 4), f"#{number}", fill="white", font=_font(12), stroke_width=1, stroke_fill="#333"
        )
        canvas.paste(tile, ((number - 1) % 2 * (wide + 1), (number - 1) // 2 * (high + 1)))
    return canvas


def _view(picture: Picture, number: int) -> View:
    """The view of image `number` of the picture: each press in the path changes the view."""
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
            mood = Mood(*(mix(one, two, 0.25) for one, two in zip(view.mood, other, strict=True)))
            return changed(view, mood=mood, known=(), details=details)
    return view


def _write(canvas: Canvas, prompt: str) -> None:
    """Write the prompt in a band at the bottom, in at most three lines. Characters that the font lacks become dots."""
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
