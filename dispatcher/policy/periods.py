"""Finds the hour, day or month that a time is in, in a time zone, and when it ends. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal

import msgspec

Per = Literal["hour", "day", "month"]


class Period(msgspec.Struct, frozen=True):
    """`name` such as "2026-11-29 14:00+0100", "2026-11-29" or "2026-11"; it ends just before `ends_at_ms`."""

    name: str
    ends_at_ms: int


def period_of(per: Per, now_ms: int, zone: tzinfo) -> Period:
    """The period that a time is in. When the clocks change, a day has 23 or 25 hours."""
    local = datetime.fromtimestamp(now_ms / 1000, zone)
    match per:
        case "hour":
            start = local.replace(minute=0, second=0, microsecond=0)
            return Period(f"{start:%Y-%m-%d %H:%M%z}", _ms(start.astimezone(UTC) + timedelta(hours=1)))
        case "day":
            return Period(f"{local:%Y-%m-%d}", _midnight_ms(local.date() + timedelta(days=1), zone))
        case "month":
            following = (local.date().replace(day=1) + timedelta(days=32)).replace(day=1)
            return Period(f"{local:%Y-%m}", _midnight_ms(following, zone))


def day_began_ms(now_ms: int, zone: tzinfo) -> int:
    """When the day that a time is in began."""
    return _midnight_ms(datetime.fromtimestamp(now_ms / 1000, zone).date(), zone)


def _midnight_ms(day: date, zone: tzinfo) -> int:
    return _ms(datetime(day.year, day.month, day.day, tzinfo=zone))


def _ms(moment: datetime) -> int:
    return int(1000 * moment.timestamp())
