"""Durations as rules have them: a number of seconds, or a text such as "90 s", "10 min", "2 h", "3 days"."""

from __future__ import annotations

import re

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds_of(written: float | str) -> float | None:
    """The seconds that a duration lasts; None for a text that is no duration."""
    if not isinstance(written, str):
        return float(written)
    found = _DURATION.fullmatch(written.strip().lower())
    return float(found[1]) * _SECONDS[(found[2] or "s")[0]] if found else None
