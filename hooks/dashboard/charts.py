"""Draws series as SVG paths in a box of 600 by 100. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

WIDTH, HEIGHT = 600, 100


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """A line and the area under it, as SVG path data; `highest` is the value at the top, `last` the newest."""

    line: str
    area: str
    highest: float
    last: float


def chart(values: Sequence[float]) -> Chart:
    """Draw the values from left to right, the highest at the top."""
    highest = max(values, default=0.0)
    step = WIDTH / max(1, len(values) - 1)
    points = [
        (round(index * step, 1), round(HEIGHT - (HEIGHT - 4) * value / (highest or 1), 1))
        for index, value in enumerate(values)
    ]
    line = " ".join(f"{'L' if index else 'M'}{x:g} {y:g}" for index, (x, y) in enumerate(points))
    return Chart(
        line=line,
        area=f"{line} L{WIDTH} {HEIGHT} L0 {HEIGHT} Z" if line else "",
        highest=highest,
        last=values[-1] if values else 0.0,
    )
