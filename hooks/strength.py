"""Decides whether somebody could find a token by guessing for a long time. Performs no I/O."""

from __future__ import annotations

from itertools import pairwise

LEAST_CHARACTERS = 20
LEAST_DIFFERENT = 8
"""Of tokens with 24 random hexadecimal digits, one in 100,000 has fewer different digits."""


def is_weak(token: str) -> bool:
    """True if the token is short, repeats itself, or counts ("123456…")."""
    steps = {ord(after) - ord(before) for before, after in pairwise(token)}
    return _period(token) < LEAST_CHARACTERS or min(len(set(token)), len(steps)) < LEAST_DIFFERENT


def _period(token: str) -> int:
    """Return after how many characters the token repeats itself: 3 for "abcabcab"; its length if it does not."""
    return next((n for n in range(1, len(token)) if token[n:] == token[:-n]), len(token))
