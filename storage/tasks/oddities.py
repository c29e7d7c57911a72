"""Logs warnings about odd tasks, for example with an unknown status, or with buttons that cannot be read."""

from __future__ import annotations

import structlog

from midjourney.types import Task
from storage.log_lines import LogLines

log = structlog.get_logger("hookchain")

MOST_KNOWN = 1000
"""Warnings that are remembered, so that each is logged once: senders repeat a payload, and polling reads it again."""


class Oddities:
    """The oddities that this process has warned about."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], None] = {}
        self._lines = LogLines()

    def look_at(self, upstream: str, task: Task) -> None:
        """Log a warning if a received task is odd, once for each oddity."""
        if not task.oddity:
            return
        key = (upstream, task.id, task.oddity)
        if key in self._known:
            return
        self._known[key] = None
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        if (left_out := self._lines.take()) is not None:
            log.warning(
                "odd task", upstream=upstream, task=task.id, reason=task.oddity, lines_left_out=left_out
            )
