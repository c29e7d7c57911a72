"""Endless landscapes (hills, a sea or a city, at some time of the day), and views of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from random import Random
from typing import NamedTuple, TypeAlias

import msgspec
from PIL import Image, ImageDraw, ImageFilter, ImageOps

Canvas: TypeAlias = Image.Image
Colour: TypeAlias = tuple[int, ...]
Edge: TypeAlias = Callable[[float], float]


class Mood(NamedTuple):
    """The colours of a time of day."""

    sky: Colour
    horizon: Colour
    light: Colour
    near: Colour


MOODS = (
    Mood((96, 118, 184), (252, 208, 184), (255, 244, 220), (61, 53, 96)),  # dawn
    Mood((52, 132, 200), (216, 240, 244), (255, 250, 220), (24, 84, 70)),  # day
    Mood((59, 42, 99), (248, 140, 92), (255, 222, 160), (42, 20, 56)),  # dusk
    Mood((8, 14, 44), (62, 94, 146), (240, 242, 255), (6, 10, 28)),  # night
    Mood((112, 164, 158), (244, 236, 210), (255, 255, 248), (36, 66, 60)),  # mist
    Mood((150, 58, 92), (252, 206, 190), (255, 240, 230), (72, 24, 56)),  # rose
)


class View(msgspec.Struct, frozen=True, kw_only=True):
    """An endless landscape and the visible part of it. A zoom steps back; a pan moves sideways.

    Lengths are in heights of the first picture. `details` seeds small details. `known`: ranges that an earlier picture has
    shown, each with the seed of its details, so that these stay the same.
    """

    world: str
    motif: str
    mood: Mood
    aspect: float
    details: str
    x: float = 0.0
    scale: float = 1.0
    known: tuple[tuple[float, float, str], ...] = ()
    balloons: tuple[tuple[int, float, float, float], ...] = ()
    fine: bool = False

    def rng(self, x: float, *what: object) -> Random:
        """The random generator of a detail at `x`."""
        seed = next((seed for left, right, seed in self.known if left < x < right), self.details)
        return Random(f"{seed} {x:.3f} {what}")


class _Pen:
    """Draws in the landscape's coordinates, at twice the size for smooth edges."""

    def __init__(self, view: View, size: tuple[int, int]) -> None:
        self.size = size[0] * 2, size[1] * 2
        self.canvas = Image.new("RGB", self.size)
        self.draw = ImageDraw.Draw(self.canvas)
        self.unit = self.size[1] / view.scale
        self.left, self.top = view.x - self.size[0] / self.unit / 2, 0.5 - view.scale / 2

    def at(self, x: float, y: float) -> tuple[float, float]:
        return (x - self.left) * self.unit, (y - self.top) * self.unit

    def shape(self, colour: Colour, x: float, y: float, size: float, *outline: float) -> None:
        """Draw a polygon around x and y. `outline`: alternating offsets to the right and upwards."""
        points = zip(outline[::2], outline[1::2], strict=True)
        self.draw.polygon([self.at(x + right * size, y - up * size) for right, up in points], fill=colour)

    def oval(self, colour: Colour, x: float, y: float, wide: float, high: float) -> None:
        self.draw.ellipse((*self.at(x - wide, y - high), *self.at(x + wide, y + high)), fill=colour)

    def below(self, edge: Edge, top: float, bottom: float, high: Colour, low: Colour) -> None:
        """Fill everything below an edge with a colour gradient from `top` to `bottom`."""
        width, height = self.size
        start, end = round(self.at(0, top)[1]), round(self.at(0, bottom)[1])
        column = Image.new("L", (1, height))
        column.paste(255, (0, max(min(end, height), 0), 1, height))
        column.paste(Image.linear_gradient("L").resize((1, max(end - start, 1))), (0, start))
        line = [(x, (edge(self.left + x / self.unit) - self.top) * self.unit) for x in range(0, width + 3, 3)]
        # What is above the edge stays: it is most of the picture, and is not touched.
        above = min(max(math.floor(min(y for _, y in line)) - 1, 0), height - 1)
        mask = Image.new("1", (width, height - above))
        shifted = [(x, y - above) for x, y in line]
        ImageDraw.Draw(mask).polygon([*shifted, (width + 3, mask.height), (0, mask.height)], fill=1)
        gradient = ImageOps.colorize(column.crop((0, above, 1, height)), high, low)
        self.canvas.paste(gradient.resize(mask.size, Image.Resampling.NEAREST), (0, above), mask)

    def cells(self, wide: float) -> list[float]:
        """The centres of visible cells of equal width; none if the cells are too small to see."""
        first, count = math.floor(self.left / wide) - 1, round(self.size[0] / self.unit / wide) + 3
        return [(first + cell + 0.5) * wide for cell in range(count)] if wide * self.unit > 5 else []


def render(view: View, size: tuple[int, int]) -> Canvas:
    """The view as a picture of this size."""
    pen = _Pen(view, size)
    pen.below(lambda _: -1e3, -0.1, 0.62, view.mood.sky, view.mood.horizon)
    sun = _draw_sky(pen, view)
    for layer in range(24):
        if 0.18 + 0.18 * 1.3**layer < 0.5 + view.scale / 2:
            _draw_layer(pen, view, layer)
    rng = Random(f"{view.world} glitter")
    for depth in [rng.random() ** 1.5 for _ in range(46 * (view.motif == "sea"))]:
        colour = mix(view.mood.light, view.mood.horizon, rng.uniform(0, 0.6))
        x = sun + rng.gauss(0, 0.02 + depth * 0.07)
        pen.oval(colour, x, 0.56 + depth * 0.5, 0.01 + depth * 0.02, 0.0016 + depth * 0.002)
    for number, x, y, wide in view.balloons:
        silk = ((214, 72, 60), (40, 120, 170), (232, 170, 60), (120, 80, 160))[number - 1]
        for part, colour in ((1, silk), (0.62, (250, 236, 214)), (0.25, silk)):
            pen.oval(colour, x, y, wide * 0.18 * part, wide * 0.18)
        pen.shape(view.mood.near, x, y, wide * 0.1, -0.95, -1.5, 0.95, -1.5, 0.3, -2.5, -0.3, -2.5)
        pen.shape((120, 82, 50), x, y, wide * 0.1, -0.4, -2.4, 0.4, -2.4, 0.3, -3, -0.3, -3)
    canvas = pen.canvas.reduce(2)
    return canvas.filter(ImageFilter.UnsharpMask(1, 90, 0)) if view.fine else canvas


def _draw_sky(pen: _Pen, view: View) -> float:
    """Draw stars, the sun or moon with its glow, clouds and birds. Returns the x of the sun."""
    mood, rng = view.mood, Random(f"{view.world} sun")
    for cell in pen.cells(0.012) if sum(mood.sky) < 210 else []:
        star = view.rng(cell, "star")
        bright = star.uniform(0.2, 0.9)
        pen.oval(
            mix(mood.sky, mood.light, bright), cell, star.uniform(-0.4, 0.45), bright / 300, bright / 300
        )
    x, y, radius = rng.uniform(-0.33, 0.33) * view.aspect, rng.uniform(0.16, 0.38), rng.uniform(0.05, 0.08)
    radius, left_top = radius * min(1, view.aspect + 0.3), pen.at(x, y)
    side = round(radius * 10 * pen.unit)
    glow = (
        Image.radial_gradient("L").resize((side, side)).point([max(150 - level, 0) for level in range(256)])
    )
    pen.canvas.paste(mood.light, (round(left_top[0] - side / 2), round(left_top[1] - side / 2)), glow)
    pen.oval(mood.light, x, y, radius, radius)
    for cell in pen.cells(0.2):
        rng = view.rng(cell, "sky")
        if rng.random() < 0.45:
            y, size = rng.uniform(-0.1, 0.36), rng.uniform(0.012, 0.026)
            colour = mix(mix(mood.sky, mood.horizon, max(y, 0) + 0.1), mood.light, 0.4)
            for puff in range(-3, 4):
                high = size * (1.1 - abs(puff) * 0.22) * rng.uniform(0.7, 1.2)
                pen.oval(colour, cell + puff * size * 1.1, y - high * 0.4, size * 1.3, high)
        for _ in range(rng.randrange(3)):
            at, size = (cell + rng.uniform(-0.07, 0.07), rng.uniform(0.06, 0.4)), rng.uniform(0.008, 0.014)
            pen.shape(
                mood.near,
                *at,
                size,
                -1,
                0.5,
                -0.5,
                0.65,
                0,
                0.2,
                0.5,
                0.65,
                1,
                0.5,
                0.5,
                0.4,
                0,
                -0.1,
                -0.5,
                0.4,
            )
    return x


def _draw_layer(pen: _Pen, view: View, layer: int) -> None:
    """Draw a hill, a wave or a row of houses in front of the previous layers, and what stands on it."""
    size, near, mood = 0.03 * 1.3**layer, min((layer + 0.7) / 4.2, 1), view.mood
    level, edge = 0.18 + 11.2 * size, _edge(view, layer, size)
    colour = mix(mood.horizon, mood.near, near)
    haze, dark = mix(colour, mood.horizon, 0.55 - near / 2), mix(colour, mood.near, 0.45)
    dark = dark if near < 1 else mix(colour, (0, 0, 0), 0.3)
    pen.below(edge, level - size * 2, level + size * 4, colour, haze)
    for depth in (1.2, 2.4, 3.6) if view.fine else ():
        line = [pen.at(x, edge(x) + depth * size) for x in pen.cells(size / 3)]
        pen.draw.line(line, fill=mix(haze, colour, 0.6), width=2)
    for cell in pen.cells(size * {"hills": 0.8, "sea": 9, "city": 1.6}[view.motif]):
        rng, y = view.rng(cell, layer), edge(cell)
        high = size * rng.uniform(0.9, 1.9)
        if view.motif == "city" and layer:
            lit = mix(colour, mood.light, 0.9 if sum(mood.sky) < 240 else 0.45)
            for spot in [spot for spot in range(30) if rng.random() < 0.3 and size * pen.unit > 12]:
                at = cell + (spot % 3 - 1) * size * 0.36, y + (spot // 3 + 1) * size * 0.36
                pen.shape(lit, *at, size * 0.08, -1, -1, 1, -1, 1, 1, -1, 1)
        elif view.motif == "hills" and layer and rng.random() < 0.55:
            for up in (-0.15, 0.15, 0.4):
                wide = 0.22 - up * 0.18
                pen.shape(dark, cell, y, high, -wide, up, wide, up, 0, up + 0.45)
        elif view.motif == "sea" and layer and rng.random() < 0.4:
            pen.shape(dark, cell, y, high, -0.6, 0, 0.6, 0, 0.4, -0.2, -0.4, -0.2)
            pen.shape(mood.light, cell, y, high, -0.05, 0.08, -0.05, 1.3, -0.5, 0.08)
            pen.shape(mood.light, cell, y, high, 0.05, 0.08, 0.05, 1.1, 0.5, 0.08)


def _edge(view: View, layer: int, size: float) -> Edge:
    """The upper edge of a layer, as y for each x."""
    level, rng = 0.18 + 11.2 * size, Random(f"{view.world} {layer}")
    if view.motif == "city":
        return lambda x: level - size * 5 * _tower(f"{view.world} {layer} {math.floor(x / size / 1.6)}")
    if view.motif == "sea" and layer:
        start = rng.uniform(0, 6)
        return lambda x: level + size * 0.25 * math.sin(x / size * 0.9 + start)
    waves = [
        (rng.uniform(0.05, 0.2) / size, rng.uniform(0, 6.3), size * rng.uniform(0.5, 1.1)) for _ in range(3)
    ]
    return lambda x: level + sum(high * math.sin(often * x + start) for often, start, high in waves)


@lru_cache(maxsize=4096)
def _tower(seed: str) -> float:
    return Random(seed).random() ** 2


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """A mixture of two colours."""
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
