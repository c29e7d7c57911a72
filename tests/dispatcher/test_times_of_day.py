"""Times such as "22:00 Europe/Berlin": the next one, across weeks and the days on which clocks are set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dispatcher.policy.times_of_day import LATE_MS, InvalidTime, due_ms, next_ms, time_of_day


def ms(written: str) -> int:
    """A moment in UTC, in epoch milliseconds."""
    return int(datetime.fromisoformat(written).replace(tzinfo=UTC).timestamp() * 1000)


def utc(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


@pytest.mark.parametrize(
    ("written", "after", "expected"),
    [
        ("22:00", "2026-01-05 21:59:59", "2026-01-05 22:00:00"),
        ("22:00", "2026-01-05 22:00:00", "2026-01-06 22:00:00"),
        ("22:00 UTC", "2026-12-31 23:00:00", "2027-01-01 22:00:00"),
        ("22:00 Europe/Berlin", "2026-01-05 20:59:00", "2026-01-05 21:00:00"),
        ("22:00 europe/berlin", "2026-07-05 20:30:00", "2026-07-06 20:00:00"),
        ("0:00 Asia/Shanghai", "2026-01-05 15:59:00", "2026-01-05 16:00:00"),
        ("mon 9:00 Asia/Shanghai", "2026-01-05 00:59:00", "2026-01-05 01:00:00"),
        ("mon 9:00 Asia/Shanghai", "2026-01-05 01:00:00", "2026-01-12 01:00:00"),
        ("Monday 9:00 Asia/Shanghai", "2026-01-04 23:00:00", "2026-01-05 01:00:00"),
        ("sun 23:30", "2026-01-05 00:00:00", "2026-01-11 23:30:00"),
        # Berlin sets its clocks forward on 2026-03-29 at 02:00 (01:00 UTC), and back on 2026-10-25 at 03:00 (01:00 UTC).
        ("2:30 Europe/Berlin", "2026-03-29 00:00:00", "2026-03-29 01:00:00"),
        ("2:00 Europe/Berlin", "2026-03-29 00:00:00", "2026-03-29 01:00:00"),
        ("2:30 Europe/Berlin", "2026-03-29 01:00:00", "2026-03-30 00:30:00"),
        ("3:00 Europe/Berlin", "2026-03-29 00:30:00", "2026-03-29 01:00:00"),
        ("2:30 Europe/Berlin", "2026-10-25 00:00:00", "2026-10-25 00:30:00"),
        ("2:30 Europe/Berlin", "2026-10-25 00:30:00", "2026-10-26 01:30:00"),
        # Havana skips midnight itself, and Lord Howe moves by half an hour.
        ("0:30 America/Havana", "2026-03-08 04:00:00", "2026-03-08 05:00:00"),
        ("2:15 Australia/Lord_Howe", "2026-10-03 12:00:00", "2026-10-03 15:30:00"),
    ],
)
def test_the_next_such_time(written: str, after: str, expected: str) -> None:
    """A time that does not exist is the first moment after the gap; one that exists twice is the first of the two."""
    assert utc(next_ms(time_of_day(written), ms(after))) == expected


def test_without_a_zone_it_is_in_the_configured_one() -> None:
    """And in UTC if none is configured."""
    after = ms("2026-01-05 12:00:00")
    assert utc(next_ms(time_of_day("22:00", zone="Europe/Berlin"), after)) == "2026-01-05 21:00:00"
    assert utc(next_ms(time_of_day("22:00 UTC", zone="Europe/Berlin"), after)) == "2026-01-05 22:00:00"


def test_a_time_that_has_just_passed_still_counts() -> None:
    """An event of 21:59 that is handled a little after 22:00 is not sent a day later; after an hour it waits for the next 22:00."""
    at, asked = time_of_day("22:00"), ms("2026-01-05 21:59:00")
    ten = ms("2026-01-05 22:00:00")
    assert due_ms(at, asked, asked + 1_000) == ten
    assert due_ms(at, asked, ten + LATE_MS - 1) == ten
    assert due_ms(at, asked, ten + LATE_MS) == ms("2026-01-06 22:00:00")


def test_every_time_of_a_year_is_ahead_and_within_a_day() -> None:
    """Asked every seven hours for a year; the day on which the clock is set back has an hour more."""
    at, after_ms = time_of_day("2:30 Europe/Berlin"), ms("2026-01-01 00:00:00")
    for _ in range(1300):
        found_ms = next_ms(at, after_ms)
        assert 0 < found_ms - after_ms <= timedelta(hours=25, minutes=30) / timedelta(milliseconds=1)
        after_ms += 7 * 3_600_000


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (
            "tonight",
            '\'tonight\' is not a time of day: Write "22:00", "22:00 Europe/Berlin" or "mon 9:00 Asia/Shanghai".',
        ),
        ("24:00", "24:00 is not a time of day: Write 0:00 to 23:59."),
        ("22:60", "22:60 is not a time of day: Write 0:00 to 23:59."),
        (
            "someday 9:00",
            "'someday' is not a day of the week: Write one of mon, tue, wed, thu, fri, sat, sun.",
        ),
        ("9:00 Berlin", "unknown time zone 'Berlin': Did you mean \"Europe/Berlin\"?"),
        ("9:00 Asia/Shangai", "unknown time zone 'Asia/Shangai': Did you mean \"Asia/Shanghai\"?"),
        ("9:00 qqqq", "unknown time zone 'qqqq': Write one such as \"Europe/Berlin\"."),
        (
            "9:00 GMT+8",
            'unknown time zone \'GMT+8\': Write "Etc/GMT-8" for UTC+8 (its sign is reversed), or a place such as "Asia/Shanghai".',
        ),
        (
            "9:00 utc-05:00",
            'unknown time zone \'utc-05:00\': Write "Etc/GMT+5" for UTC-5 (its sign is reversed), or a place such as "America/Bogota".',
        ),
        ("9:00 UTC+5:30", "unknown time zone 'UTC+5:30': Write a place such as \"Asia/Kolkata\"."),
        ("9:00 UTC+15", "unknown time zone 'UTC+15': Write a place such as \"Europe/Berlin\"."),
        ("9:00 Beijing", "unknown time zone 'Beijing': Did you mean \"Asia/Shanghai\"?"),
        ("9:00 Asia/Peking", "unknown time zone 'Asia/Peking': Did you mean \"Asia/Shanghai\"?"),
        ("9:00 PST", "unknown time zone 'PST': Did you mean \"America/Los_Angeles\"?"),
        ("9:00 EDT", "unknown time zone 'EDT': Did you mean \"America/New_York\"?"),
        (
            "9:00 CST",
            'unknown time zone \'CST\': It has several meanings: write "America/Chicago" or "Asia/Shanghai".',
        ),
        ("9:00 Europe", "unknown time zone 'Europe': Write one such as \"Europe/Berlin\"."),
        ("9:00 XYZ", "unknown time zone 'XYZ': Write one such as \"Europe/Berlin\"."),
        (
            "9:00 localtime",
            "'localtime' means another time zone on each machine: Write one such as \"Europe/Berlin\".",
        ),
    ],
)
def test_what_is_no_such_time(written: str, problem: str) -> None:
    """The message says what to write."""
    with pytest.raises(InvalidTime) as raised:
        time_of_day(written)
    assert f"{raised.value.problem}: {raised.value.remedy}" == problem
