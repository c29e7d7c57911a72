"""Numbers that come in as text: those of a path, a query or a header."""

from __future__ import annotations

LARGEST = 2**63 - 1
"""What a column of either database holds."""


def number(text: str, most: int = LARGEST) -> int | None:
    """A whole number from 0 to `most`; None for anything else: Python takes "²" for a digit, and raises at 5,000 digits."""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(most)):
        return None
    found = int(text)
    return found if found <= most else None
