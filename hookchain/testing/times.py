"""The clock of a test, which stands still until the test moves it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from storage.clock import wall_ms

_LENGTH = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)\s*")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class TestClock:
    """Begins at the present time."""

    __test__ = False

    def __init__(self) -> None:
        self.now_ms = wall_ms()

    def __call__(self) -> int:
        """The time, epoch milliseconds."""
        return self.now_ms

    def after(self, time: float | str | timedelta | datetime) -> int:
        """The moment after this time has passed, or the moment itself, epoch milliseconds. Raises `ValueError`."""
        if isinstance(time, datetime):
            if time.tzinfo is None:
                raise ValueError(f"{time} has no time zone; write datetime(…, tzinfo=UTC)")
            moment_ms = round(time.timestamp() * 1000)
        else:
            moment_ms = self.now_ms + round(1000 * _seconds(time))
        if moment_ms < self.now_ms:
            now = datetime.fromtimestamp(self.now_ms / 1000, UTC)
            raise ValueError(f"{time} is before the test's present time, {now}: time moves forward only")
        return moment_ms


def _seconds(time: float | str | timedelta) -> float:
    if isinstance(time, timedelta):
        return time.total_seconds()
    if not isinstance(time, str):
        return float(time)
    if (length := _LENGTH.fullmatch(time)) is None:
        raise ValueError(f'{time!r} is not a length of time; write seconds, or "10 min", "2 h", "1 day"')
    return float(length[1]) * _SECONDS[length[2][0]]
