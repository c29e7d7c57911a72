"""Prints rows: in columns on a terminal; elsewhere with tabs between the values, as programs read them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from itertools import zip_longest

from hookchain.cli.output import say
from hookchain.printable import printable

GAP = 2
NARROWEST = 10
"""Cells of the last column on the narrowest terminal."""


def say_rows(rows: Sequence[Sequence[str]], *, cuts_last: bool = False) -> None:
    """Print rows. Line ends and control characters in values are escaped, so that each row is one line.

    With `cuts_last`, the last value is shortened to the width of a terminal: for prompts, and not for reasons.
    """
    shown = [[printable(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        for row in shown:
            say("\t".join(row))
        return
    for line in lines_of(shown, shutil.get_terminal_size().columns if cuts_last else None):
        say(line)


def lines_of(rows: Sequence[Sequence[str]], most: int | None) -> list[str]:
    """The rows in columns. The last value of a row is cut where the line has `most` cells; None: it is not cut."""
    widths = [
        max(map(cells, column)) for column in zip_longest(*(row[:-1] for row in rows if row), fillvalue="")
    ]
    lines = []
    for row in rows:
        first = "".join(
            padded(value, width) + " " * GAP for value, width in zip(row[:-1], widths, strict=False)
        )
        last = row[-1] if row else ""
        if most is not None:
            last = cut(last, max(NARROWEST, most - cells(first)))
        lines.append((first + last).rstrip())
    return lines


def cells(text: str) -> int:
    """How many cells of a terminal a text takes: two for 猫 and most emoji."""
    if text.isascii():
        return len(text)
    # Imported here because few texts need it.
    from rich.cells import cell_len

    return cell_len(text)


def padded(text: str, width: int) -> str:
    """The text with spaces up to this width, in cells."""
    return text + " " * (width - cells(text))


def cut(text: str, most: int) -> str:
    """The text, or its beginning and "…", in at most this many cells."""
    if cells(text) <= most:
        return text
    from rich.cells import set_cell_size

    return set_cell_size(text, most - 1).rstrip() + "…"
