"""Line charts as SVG, small enough to be kept in the repository. Pure: values come in, text goes out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import msgspec

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 176, 40, 48
COLOURS = ("#1f6feb", "#c2410c", "#15803d", "#7e22ce", "#475569")


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """A line: for each label of the x axis the lowest, the middle and the highest value, or None for a gap."""

    name: str
    points: tuple[tuple[float, float, float] | None, ...]


def line_chart(
    title: str, labels: Sequence[str], series: Sequence[Series], *, goal: float | None = None
) -> str:
    """The chart as SVG text. The y axis begins at 0; bars show lowest and highest values; `goal` is a dashed line."""
    most = max([point[2] for one in series for point in one.points if point is not None] + [goal or 0.0])
    step = _step(most)
    top = step * math.ceil(most / step)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        _text(LEFT, 22, title, size=14),
    ]
    for number in range(round(top / step) + 1):
        y = _y(number * step, top)
        parts += [
            _line(LEFT, y, WIDTH - RIGHT, y, "#d4d4d8"),
            _text(LEFT - 8, y + 4, f"{number * step:g}", anchor="end"),
        ]
    parts += [
        _text(_x(place, labels), HEIGHT - BOTTOM + 20, label, anchor="middle")
        for place, label in enumerate(labels)
    ]
    if goal is not None:
        parts.append(_line(LEFT, _y(goal, top), WIDTH - RIGHT, _y(goal, top), "#18181b", dashes=True))
        parts.append(_text(WIDTH - RIGHT + 12, _y(goal, top) + 4, f"goal {goal:g}"))
    for number, one in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        parts += _drawn(one, labels, top, colour)
        y = HEIGHT - BOTTOM - 18 * (len(series) - number - 1)
        parts += [
            f'<circle cx="{WIDTH - RIGHT + 16}" cy="{y - 4}" r="4" fill="{colour}"/>',
            _text(WIDTH - RIGHT + 26, y, one.name),
        ]
    return "\n".join([*parts, "</svg>\n"])


def _drawn(one: Series, labels: Sequence[str], top: float, colour: str) -> list[str]:
    found = [(_x(place, labels), point) for place, point in enumerate(one.points) if point is not None]
    path = " ".join(f"{x:g},{_y(middle, top):g}" for x, (_, middle, _) in found)
    parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>']
    for x, (lowest, middle, highest) in found:
        parts.append(_line(x, _y(lowest, top), x, _y(highest, top), colour))
        parts.append(f'<circle cx="{x:g}" cy="{_y(middle, top):g}" r="3" fill="{colour}"/>')
    return parts


def _step(most: float) -> float:
    """The distance of the y axis's lines: 1, 2 or 5 times a power of ten, so that there are three to seven. `_step(1.1)` is 0.2."""
    rough = (most or 1.0) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)


def _x(place: int, labels: Sequence[str]) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / len(labels), 1)


def _y(value: float, top: float) -> float:
    return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top, 1)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dashes: bool = False) -> str:
    style = ' stroke-dasharray="5 4"' if dashes else ""
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}"{style}/>'


def _text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size}" fill="#18181b">{escape(words)}</text>'
