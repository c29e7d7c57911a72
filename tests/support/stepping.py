"""`hookchain` on a machine whose clock somebody sets: its wall clock is off by what stands in the file CLOCK_FILE, in seconds.

Only the clock that can be set is replaced, where the operating system's would be: all of the product runs as it is, and the
uptime goes on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

_NAME = "CLOCK_FILE"


def follow(environment: Mapping[str, str]) -> None:
    """Go by the clock that a process is started with, if it has one of its own."""
    if _NAME not in environment:
        return
    file, true_ns = Path(environment[_NAME]), time.time_ns

    def stepped_ns() -> int:
        return true_ns() + round(float(file.read_text()) * 1_000_000_000)

    time.time_ns = stepped_ns
    time.time = lambda: stepped_ns() / 1_000_000_000


class MachineClock:
    """The clock of a machine of its own, for the processes that are started with its `environment`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to run by this clock."""
        return {_NAME: str(self._file)}

    def set(self, seconds: float) -> None:
        """Put it so far ahead of the true time, or behind it."""
        beside = self._file.with_suffix(".new")
        beside.write_text(str(seconds))
        beside.replace(self._file)
