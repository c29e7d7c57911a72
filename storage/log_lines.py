"""Limits the log lines that senders can cause, and counts the lines left out."""

from __future__ import annotations

import time

MOST_LINES, WITHIN_S = 20, 60.0


class LogLines:
    """Allows `MOST_LINES` lines of one kind in `WITHIN_S` seconds."""

    def __init__(self) -> None:
        self._began_s = 0.0
        self._written = 0
        self._left_out = 0

    def take(self) -> int | None:
        """Ask for one line; returns how many were left out before it, or None if this one must be left out too."""
        now_s = time.monotonic()
        if now_s - self._began_s >= WITHIN_S:
            self._began_s, self._written = now_s, 0
        if self._written >= MOST_LINES:
            self._left_out += 1
            return None
        self._written += 1
        left_out, self._left_out = self._left_out, 0
        return left_out
