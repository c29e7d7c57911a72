"""Times such as "22:00 Europe/Berlin" or "mon 9:00 Asia/Shanghai", and the next moment at which each of them is. Pure."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from dispatcher.policy.zones import UnknownZone, zone_named

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

LATE_MS = 3_600_000
"""What was asked for before such a time, and is staged up to an hour after it, goes at once; later, it waits for the next such time."""

EXAMPLE = 'Write "22:00", "22:00 Europe/Berlin" or "mon 9:00 Asia/Shanghai".'

_WRITTEN = re.compile(r"(?:([a-z]+)\s+)?(\d{1,2}):(\d{2})(?:\s+(\S+))?", re.IGNORECASE)


class TimeOfDay(msgspec.Struct, frozen=True, kw_only=True):
    """A time of each day, or of one day of the week (0 is Monday), in a time zone."""

    hour: int
    minute: int
    zone: str
    weekday: int | None = None


class InvalidTime(ValueError):
    """A text is not such a time. `remedy` says what to write instead."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


def time_of_day(written: str, *, zone: str = "UTC") -> TimeOfDay:
    """Read such a time; `zone` is the time zone of one that names none. Raises `InvalidTime`."""
    found = _WRITTEN.fullmatch(written.strip())
    if not found:
        raise InvalidTime(f"{written!r} is not a time of day", EXAMPLE)
    day, hour, minute = (found[1] or "").lower()[:3], int(found[2]), int(found[3])
    if day and day not in DAYS:
        raise InvalidTime(f"{found[1]!r} is not a day of the week", f"Write one of {', '.join(DAYS)}.")
    if hour > 23 or minute > 59:
        raise InvalidTime(f"{found[2]}:{found[3]} is not a time of day", "Write 0:00 to 23:59.")
    return TimeOfDay(
        hour=hour,
        minute=minute,
        zone=known_zone(found[4] or zone),
        weekday=DAYS.index(day) if day else None,
    )


def next_ms(at: TimeOfDay, after_ms: int) -> int:
    """The next such time after a moment, both in epoch milliseconds: 22:00 at 21:59 is a minute ahead, at 22:00 a day.

    Where clocks are set forward, a time that does not exist is the first moment after the gap; where they are set back, one that
    exists twice is the first of the two.
    """
    zone = ZoneInfo(at.zone)
    day = datetime.fromtimestamp(after_ms / 1000, zone).date()
    for days in range(9):
        found_ms = _on(at, day + timedelta(days=days), zone)
        if found_ms is not None and found_ms > after_ms:
            return found_ms
    raise AssertionError("each day of the week comes within eight days")


def due_ms(at: TimeOfDay, asked_ms: int, now_ms: int) -> int:
    """When something is due that an event of `asked_ms` asks for, and that is staged at `now_ms`: see `LATE_MS`."""
    return next_ms(at, max(asked_ms, now_ms - LATE_MS)) if asked_ms < now_ms else next_ms(at, now_ms)


def _on(at: TimeOfDay, day: date, zone: ZoneInfo) -> int | None:
    """That time on a day; None on another day of the week."""
    if at.weekday is not None and day.weekday() != at.weekday:
        return None
    written = datetime(day.year, day.month, day.day, at.hour, at.minute, tzinfo=zone)
    moment = written.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) != written.replace(tzinfo=None):
        moment = _end_of_gap(moment, zone)
    return int(moment.timestamp() * 1000)


def _end_of_gap(moment: datetime, zone: ZoneInfo) -> datetime:
    """The moment at which clocks were set forward, which is within a day before: a time in a gap is read with the earlier offset."""
    low, high = moment - timedelta(days=1), moment
    after = high.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        low, high = (low, middle) if middle.astimezone(zone).utcoffset() == after else (middle, high)
    return high.replace(microsecond=0)


def known_zone(zone: str) -> str:
    """The name of a time zone, in its own spelling. Raises `InvalidTime`."""
    try:
        return zone_named(zone)
    except UnknownZone as error:
        raise InvalidTime(error.problem, error.remedy) from error
