"""The names of time zones, and what is probably meant by a name that is none. Pure."""

from __future__ import annotations

import difflib
import re
from functools import cache
from zoneinfo import available_timezones

UNFIT = frozenset({"localtime", "factory"})
"""Names that the system knows, and that mean no place: the zone of the machine, and none."""

_EXAMPLE = 'Write one such as "Europe/Berlin".'

_MEANT = {
    "beijing": "Asia/Shanghai",
    "peking": "Asia/Shanghai",
    "pst": "America/Los_Angeles",
    "pdt": "America/Los_Angeles",
    "edt": "America/New_York",
    "cdt": "America/Chicago",
    "cest": "Europe/Berlin",
    "jst": "Asia/Tokyo",
    "kst": "Asia/Seoul",
}
"""Names that people write, and places whose time they mean."""

_AMBIGUOUS = {
    "cst": ("America/Chicago", "Asia/Shanghai"),
    "ist": ("Asia/Kolkata", "Europe/Dublin", "Asia/Jerusalem"),
}
_OFFSET = re.compile(r"(?:etc/)?(?:gmt|utc)?([+-])(\d{1,2})(?::?(\d\d))?")
_PLACES = {
    "+1": "Africa/Lagos",
    "+2": "Africa/Johannesburg",
    "+3": "Europe/Istanbul",
    "+4": "Asia/Dubai",
    "+5": "Asia/Karachi",
    "+5:30": "Asia/Kolkata",
    "+7": "Asia/Bangkok",
    "+8": "Asia/Shanghai",
    "+9": "Asia/Tokyo",
    "+9:30": "Australia/Darwin",
    "+10": "Australia/Brisbane",
    "-3": "America/Sao_Paulo",
    "-5": "America/Bogota",
    "-7": "America/Phoenix",
    "-10": "Pacific/Honolulu",
}
"""Places that have an offset all year."""


class UnknownZone(ValueError):
    """A text is no time zone. `remedy` says what to write instead."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


def zone_named(zone: str) -> str:
    """The name of a time zone, in its own spelling. Raises `UnknownZone`."""
    known, wanted = _zones(), zone.lower().replace(" ", "_")
    if wanted in UNFIT:
        raise UnknownZone(f"{zone!r} means another time zone on each machine", _EXAMPLE)
    if found := known.get(zone.lower()):
        return found
    raise UnknownZone(f"unknown time zone {zone!r}", _remedy(wanted, known))


def _remedy(wanted: str, known: dict[str, str]) -> str:
    city = wanted.rpartition("/")[2]
    if offset := _OFFSET.fullmatch(wanted):
        return _of_offset(offset[1], int(offset[2]), int(offset[3] or 0))
    if places := _AMBIGUOUS.get(wanted):
        named = " or ".join(f'"{place}"' for place in places)
        return f"It has several meanings: write {named}."
    if likely := _MEANT.get(city) or _nearest(wanted, known):
        return f'Did you mean "{likely}"?'
    return _EXAMPLE


def _of_offset(sign: str, hours: int, minutes: int) -> str:
    """What to write for UTC+8: the names of such zones have the opposite sign."""
    offset = f"{sign}{hours}" + (f":{minutes:02}" if minutes else "")
    fitting = _PLACES.get(offset, "Europe/Berlin")
    place = f'a place such as "{fitting}"'
    if minutes or not 0 < hours <= (14 if sign == "+" else 12):
        return f"Write {place}."
    reversed_sign = "-" if sign == "+" else "+"
    return f'Write "Etc/GMT{reversed_sign}{hours}" for UTC{offset} (its sign is reversed), or {place}.'


def _nearest(wanted: str, known: dict[str, str]) -> str:
    """A zone that has nearly this name, or whose city has; "" for an abbreviation or the name of a continent."""
    if len(wanted) < 4 or any(name.startswith(f"{wanted}/") for name in known):
        return ""
    by_city = {name.rpartition("/")[2]: full for name, full in known.items()}
    near = difflib.get_close_matches(wanted, [*known, *by_city], n=1, cutoff=0.75)
    return (known.get(near[0]) or by_city[near[0]]) if near else ""


@cache
def _zones() -> dict[str, str]:
    """All time zones by their names in small letters. Finding them takes many milliseconds."""
    return {name.lower(): name for name in available_timezones() if name.lower() not in UNFIT}
