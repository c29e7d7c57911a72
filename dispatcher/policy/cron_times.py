"""Times such as "0 9 * * mon Europe/Berlin": five fields as cron has them, and a time zone; and when the next of them is. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError

from dispatcher.policy.times_of_day import InvalidTime, known_zone

EXAMPLE = 'Write minute, hour, day of the month, month and day of the week, as "0 9 * * mon" or "0 9 * * mon Europe/Berlin".'

LONGEST = 200
"""The most characters of such a text. All minutes of an hour, listed, have 169."""

_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * sun",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = {
    "Bad minute": ("a minute", "Write 0 to 59, as 0, */15 or 0,30."),
    "Bad hour": ("an hour", "Write 0 to 23, as 9, 9-17 or */2."),
    "Bad day-of-month": ("a day of the month", "Write 1 to 31, or L for the last day."),
    "Bad month": ("a month", "Write 1 to 12, or jan to dec."),
    "Bad day-of-week": (
        "a day of the week",
        "Write 0 to 7 (0 and 7 are Sunday), or sun to sat; mon-fri is a range, and sun#1 the first Sunday of the month.",
    ),
}
_IN_ORDER = tuple(_FIELDS)
_VALUES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMES: tuple[tuple[str, ...], ...] = ((), (), (), _MONTHS, _DAYS)
_CRON_FIELD = re.compile(r"[\d*?/,#-]+|(?:mon|tue|wed|thu|fri|sat|sun)(?:[-,#].*)?", re.IGNORECASE)

_ALONE = re.compile(r"\b(\w+)-\1/\d+")
"""A range of one value with steps is that value; CronSim would go on to the end."""

_FROM = datetime(2000, 1, 1, tzinfo=UTC)
"""From here on a time is looked for that never comes: within 50 years is every leap day on every day of the week."""


class CronTime(msgspec.Struct, frozen=True):
    """The five fields, and the name of the time zone."""

    fields: str
    zone: str

    def __str__(self) -> str:
        return f"{self.fields} {self.zone}"


def cron_time(written: str, *, zone: str = "UTC") -> CronTime:
    """Read such a text; `zone` is the time zone of one that names none. Raises `InvalidTime`."""
    words = written.split()
    if len(written) > LONGEST:
        raise InvalidTime(f"it has {len(written)} characters, more than {LONGEST}", EXAMPLE)
    if words and words[0].startswith("@"):
        raise InvalidTime(f"{written!r} is not written as five fields", _instead_of(words[0].lower()))
    if len(words) > 5 and all(_CRON_FIELD.fullmatch(word) for word in words[:6]):
        raise InvalidTime(
            f"{written!r} has {len(words)} fields, but there are none for seconds or years",
            f"Leave one out. {EXAMPLE}",
        )
    if len(words) not in (5, 6):
        raise InvalidTime(f"{written!r} has {_fields(len(words))}", EXAMPLE)
    fields = _ALONE.sub(r"\1", " ".join(words[:5]).lower())
    _check_slips(fields.split())
    _check(fields, written)
    return CronTime(fields, known_zone(words[5] if words[5:] else zone))


def _check_slips(fields: list[str]) -> None:
    """Raises `InvalidTime` for what cron refuses, or takes otherwise than it is meant."""
    for (low, high), names, field in zip(_VALUES, _NAMES, fields, strict=True):
        for part in field.split(","):
            values, _, step = part.partition("/")
            first, dash, last = values.partition("-")
            if step.isdecimal() and int(step) > high - low + (high != 7):
                raise InvalidTime(
                    f"{part!r} has a step beyond {high}, so it would mean its first value only",
                    f"Write {low if first == '*' else first}, or a smaller step.",
                )
            start, end = _number(first, low, names), _number(last, low, names)
            if dash and low <= end < start <= high:
                turned = _turned(start, end, (low, high), names if first in names else ())
                raise InvalidTime(f"{values!r} is a range that runs backwards", f'Write "{turned}".')
            if names == _DAYS and values.endswith("l") and values[:-1] in names:
                day = values[:-1]
                raise InvalidTime(
                    f"'{day}L' is not a day of the week",
                    f'Write "{names.index(day)}L" for the last one of the month.',
                )


def _number(value: str, low: int, names: tuple[str, ...]) -> int:
    """A value of a field as a number; -1 if it is none."""
    return names.index(value) + low if value in names else int(value) if value.isdecimal() else -1


def _turned(start: int, end: int, bounds: tuple[int, int], names: tuple[str, ...]) -> str:
    """A range that runs over the end of its field, in two parts; or as a list, where days or months have names."""
    low, high = bounds
    high = 6 if high == 7 else high
    if names:
        return ",".join(names[one - low] for one in [*range(start, high + 1), *range(low, end + 1)])
    return ",".join(
        str(one) if one == other else f"{one}-{other}" for one, other in ((start, high), (low, end))
    )


def _fields(number: int) -> str:
    return "no fields" if not number else f"{number} field{'' if number == 1 else 's'}"


def _instead_of(name: str) -> str:
    return f'Write "{_NAMED[name]}".' if name in _NAMED else EXAMPLE


def _check(fields: str, written: str) -> None:
    """Raises `InvalidTime` if the fields are wrong, or no day has all of them."""
    try:
        next(CronSim(fields, _FROM))
    except (CronSimError, ValueError) as error:
        name, remedy = _FIELDS.get(str(error), ("", EXAMPLE))
        if name and (wrong := _wrong_field(fields, str(error))):
            raise InvalidTime(f"{wrong!r} is not {name}", remedy) from error
        if name:
            raise _never(written) from error
        raise InvalidTime(f"{written!r} cannot be read", EXAMPLE) from error
    except StopIteration as error:
        raise _never(written) from error


def _never(written: str) -> InvalidTime:
    return InvalidTime(f"{written!r} never comes: there is no such date", "Correct the day or the month.")


def _wrong_field(fields: str, message: str) -> str:
    """The field that is wrong by itself; "" if only its day does not exist in its month."""
    at = _IN_ORDER.index(message)
    alone = ["*"] * 5
    alone[at] = fields.split()[at]
    try:
        CronSim(" ".join(alone), _FROM)
    except (CronSimError, ValueError):
        return alone[at]
    return ""


def next_ms(at: CronTime, after_ms: int) -> int:
    """The first such time after a moment, both in epoch milliseconds.

    Where clocks are set back, a time of day that exists twice counts once, the first time; where they are set forward, one that does
    not exist is the first moment after the gap. If minute or hour begins with `*`, each real hour counts: such times go on through both,
    as they do for Debian's cron. Raises `OverflowError` if there is none within 50 years.
    """
    moments = CronSim(at.fields, datetime.fromtimestamp(after_ms // 1000, ZoneInfo(at.zone)))
    try:
        while True:
            # A moment may come again: the second of two equal hours, or several times in one gap.
            found_ms = int(next(moments).timestamp() * 1000)
            if found_ms > after_ms:
                return found_ms
    except StopIteration:
        raise OverflowError(f"{at} does not come within 50 years") from None


def times_a_day(at: CronTime, from_ms: int) -> int:
    """How often such a time comes on the first day on which it does, counted to 2000 at most."""
    first_ms = moment_ms = next_ms(at, from_ms)
    for times in range(1, 2000):
        moment_ms = next_ms(at, moment_ms)
        if moment_ms >= first_ms + 86_400_000:
            return times
    raise AssertionError("a day has 1440 minutes")
