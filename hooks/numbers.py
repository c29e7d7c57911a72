"""Parses numbers that arrive as text in a path, a query or a header."""

from __future__ import annotations

LARGEST = 2**63 - 1
"""The largest integer that a column of either database holds."""


def number(text: str, most: int = LARGEST) -> int | None:
    """Parse a whole number from 0 to `most`; return None for anything else.

    `int` alone is not enough: Python accepts "²" as a digit, and raises at 5,000 digits.
    """
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(most)):
        return None
    value = int(text)
    return value if value <= most else None
