"""Times such as "0 9 * * mon Europe/Berlin", against a search minute by minute; and what becomes of those that have passed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.policy.cron_times import CronTime, cron_time, next_ms, times_a_day
from dispatcher.policy.occurrences import GRACE_MS, WRONG_CLOCK_MS, decide, first_ms
from dispatcher.policy.times_of_day import InvalidTime

DAYS = 2
MOST = 150
"""The most times that are compared: two hours of minutes, in which clocks may be set."""


def ms(written: str) -> int:
    """A moment in UTC, in epoch milliseconds."""
    return int(datetime.fromisoformat(written).replace(tzinfo=UTC).timestamp() * 1000)


def utc(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}"


class Field(msgspec.Struct, frozen=True):
    """A field as it is written, and the values that it means."""

    text: str
    values: frozenset[int]


def field(low: int, high: int) -> st.SearchStrategy[Field]:
    """Any way to write a field."""
    whole = range(low, high + 1)
    number = st.integers(low, high)
    ends = st.tuples(number, number).map(lambda two: (min(two), max(two)))
    step = st.integers(2, min(20, high))  # one beyond the field is a mistake
    return st.one_of(
        st.just(Field("*", frozenset(whole))),
        step.map(lambda by: Field(f"*/{by}", frozenset(whole[::by]))),
        st.lists(number, min_size=1, max_size=4).map(
            lambda some: Field(",".join(map(str, some)), frozenset(some))
        ),
        ends.map(lambda two: Field(f"{two[0]}-{two[1]}", frozenset(range(two[0], two[1] + 1)))),
        st.tuples(ends, step).map(
            lambda one: Field(
                f"{one[0][0]}-{one[0][1]}/{one[1]}", frozenset(range(one[0][0], one[0][1] + 1)[:: one[1]])
            )
        ),
    )


class Written(msgspec.Struct, frozen=True):
    """Five fields."""

    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field

    @property
    def text(self) -> str:
        return " ".join(one.text for one in (self.minute, self.hour, self.day, self.month, self.weekday))

    def has(self, day: date) -> bool:
        """As cron: one of the two days is enough if both are restricted."""
        by_day, weekday = day.day in self.day.values, day.isoweekday()
        by_weekday = weekday in self.weekday.values or weekday % 7 in self.weekday.values
        both = self.day.text.startswith("*") or self.weekday.text.startswith("*")
        return day.month in self.month.values and (
            (by_day and by_weekday) if both else (by_day or by_weekday)
        )

    def holds(self, local: datetime) -> bool:
        return (
            local.minute in self.minute.values and local.hour in self.hour.values and self.has(local.date())
        )

    def times(self, zone: ZoneInfo, start: datetime) -> list[int]:
        """All times in the days after a moment, each minute looked at."""
        end = start + timedelta(days=DAYS)
        if self.minute.text.startswith("*") or self.hour.text.startswith("*"):
            minutes = (start + timedelta(minutes=number) for number in range(DAYS * 1440 + 1))
            found = {one for one in minutes if self.holds(one.astimezone(zone))}
        else:
            first = start.replace(tzinfo=None, hour=0, minute=0) - timedelta(days=1)
            walls = (first + timedelta(minutes=number) for number in range((DAYS + 2) * 1440))
            found = {moment_of(wall, zone) for wall in walls if self.holds(wall)}
        return sorted(int(one.timestamp() * 1000) for one in found if start < one <= end)


def moment_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first moment at which a wall clock shows this, or else the first at which it shows more."""
    while True:
        moment = wall.replace(tzinfo=zone).astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None) == wall:
            return moment
        wall += timedelta(minutes=1)


ANY = st.builds(Written, field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7))
STARTS = st.one_of(
    st.integers(0, 365 * 1440).map(
        lambda number: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    ),
    # Clocks are set: in New York on March 8 and November 1, in Berlin on March 29 and October 25.
    st.tuples(st.sampled_from([(3, 7), (3, 28), (10, 24), (10, 31)]), st.integers(0, 2880)).map(
        lambda one: datetime(2026, *one[0], tzinfo=UTC) + timedelta(minutes=one[1])
    ),
)


@given(ANY, STARTS, st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Shanghai"]))
def test_a_text_means_the_minutes_that_it_says(written: Written, start: datetime, zone: str) -> None:
    """All of them in order, each once, also where clocks are set."""
    try:
        at = cron_time(f"{written.text} {zone}")
    except InvalidTime:  # there is no such date
        assert written.times(ZoneInfo(zone), start) == []
        return
    expected = written.times(ZoneInfo(zone), start)
    end_ms = int((start + timedelta(days=DAYS)).timestamp() * 1000)
    found: list[int] = []
    moment_ms = int(start.timestamp() * 1000)
    while len(found) < MOST and (moment_ms := next_ms(at, moment_ms)) <= end_ms:
        found.append(moment_ms)
    assert [utc(one) for one in found] == [utc(one) for one in expected[:MOST]]


@given(ANY, STARTS, st.integers(0, 59_999))
def test_the_next_time_is_the_same_from_each_moment_before_it(
    written: Written, start: datetime, more_ms: int
) -> None:
    """Also within a minute."""
    try:
        at = cron_time(f"{written.text} Europe/Berlin")
    except InvalidTime:
        return
    from_ms = int(start.timestamp() * 1000)
    found_ms = next_ms(at, from_ms)
    assert found_ms > from_ms
    assert next_ms(at, max(from_ms, found_ms - 1 - more_ms)) == found_ms
    assert next_ms(at, found_ms) > found_ms


@pytest.mark.parametrize(
    ("written", "after", "expected"),
    [
        # Berlin sets its clocks forward on 2026-03-29 at 02:00 (01:00 UTC), and back on 2026-10-25 at 03:00 (01:00 UTC).
        ("30 2 * * *", "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 00:30"]),
        ("0,30 2 * * *", "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 00:00"]),
        ("0 3 * * *", "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 01:00"]),
        ("30 2 * * *", "2026-10-24 12:00", ["2026-10-25 00:30", "2026-10-26 01:30"]),
        ("30 2 * * *", "2026-10-25 01:15", ["2026-10-26 01:30"]),
        ("30 * * * *", "2026-10-25 00:00", ["2026-10-25 00:30", "2026-10-25 01:30", "2026-10-25 02:30"]),
        ("30 * * * *", "2026-03-29 00:00", ["2026-03-29 00:30", "2026-03-29 01:30"]),
        ("0 9 * * mon", "2026-11-29 12:00", ["2026-11-30 08:00", "2026-12-07 08:00"]),
        ("0 9 L * *", "2026-02-01 00:00", ["2026-02-28 08:00", "2026-03-31 07:00"]),
        ("0 9 * * mon#1", "2026-02-03 00:00", ["2026-03-02 08:00", "2026-04-06 07:00"]),
        ("0 9 29 2 *", "2026-03-01 00:00", ["2028-02-29 08:00"]),
    ],
)
def test_days_on_which_clocks_are_set(written: str, after: str, expected: list[str]) -> None:
    """What exists twice counts once, and what does not exist comes after the gap; real hours all count."""
    at, moment_ms = cron_time(f"{written} Europe/Berlin"), ms(after)
    found = [utc(moment_ms := next_ms(at, moment_ms)) for _ in expected]
    assert found == expected


def test_a_time_without_a_zone_is_in_that_of_the_settings() -> None:
    assert cron_time(" 0  9 * * MON ", zone="Asia/Shanghai") == CronTime("0 9 * * mon", "Asia/Shanghai")
    assert str(cron_time("0 9 * * mon europe/berlin")) == "0 9 * * mon Europe/Berlin"


@given(st.text(max_size=40) | st.text("0123456789*/,-#L ?@monfri", max_size=250))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever somebody writes."""
    try:
        at = cron_time(text)
    except InvalidTime:
        return
    assert next_ms(at, ms("2026-01-01 00:00")) > ms("2026-01-01 00:00")


@pytest.mark.parametrize(
    ("most", "fields"),
    [(60, "{} * * * *"), (24, "0 {} * * *"), (31, "0 9 {} * *"), (12, "0 9 1 {} *"), (7, "0 9 * * {}")],
)
def test_a_step_is_at_most_the_whole_field(most: int, fields: str) -> None:
    """Which is once in an hour, a day, a month, a year or a week."""
    cron_time(fields.format(f"*/{most}"))
    with pytest.raises(InvalidTime, match="has a step beyond"):
        cron_time(fields.format(f"*/{most + 1}"))


@given(
    st.sampled_from(
        [
            (0, 59, "{} * * * *"),
            (0, 23, "0 {} * * *"),
            (1, 31, "0 0 {} * *"),
            (1, 12, "0 0 1 {} *"),
            (0, 6, "0 0 * * {}"),
        ]
    ),
    st.data(),
)
def test_what_is_offered_for_a_backward_range_means_it(
    field: tuple[int, int, str], data: st.DataObject
) -> None:
    """The values from its first on to the end, and from the beginning to its last."""
    low, high, fields = field
    start = data.draw(st.integers(low + 1, high))
    end = data.draw(st.integers(low, start - 1))
    with pytest.raises(InvalidTime, match="runs backwards") as raised:
        cron_time(fields.format(f"{start}-{end}"))
    offered = raised.value.remedy.removeprefix('Write "').removesuffix('".')
    meant = ",".join(str(one) for one in [*range(start, high + 1), *range(low, end + 1)])
    assert times(fields.format(offered)) == times(fields.format(meant))


def times(text: str) -> list[int]:
    """The first times of a text."""
    at, moment_ms = cron_time(text), ms("2026-01-01 00:00")
    return [moment_ms := next_ms(at, moment_ms) for _ in range(40)]


def test_a_day_has_so_many_times() -> None:
    assert times_a_day(cron_time("* * * * *"), 0) == 1440
    assert times_a_day(cron_time("0 9 * * mon"), 0) == 1


NINE = cron_time("0 9 * * *")
DUE = ms("2026-11-30 09:00")


@pytest.mark.parametrize("missed", ["skip", "once"])
def test_a_restart_within_minutes_loses_nothing(missed: str) -> None:
    for late_ms in (0, 1, GRACE_MS):
        decided = decide(NINE, missed, DUE, DUE + late_ms)  # type: ignore[arg-type]  # each of them
        assert (decided.strike_ms, decided.missed_ms, utc(decided.next_ms)) == (DUE, None, "2026-12-01 09:00")


def test_what_was_missed_is_skipped_or_made_up_for_once() -> None:
    """After a week, one firing at most; and never one before its time."""
    week_later = ms("2026-12-07 10:00")
    skipped, once = decide(NINE, "skip", DUE, week_later), decide(NINE, "once", DUE, week_later)
    assert (skipped.strike_ms, skipped.missed_ms) == (None, DUE)
    assert (once.strike_ms, once.missed_ms) == (DUE, None)
    assert utc(skipped.next_ms) == utc(once.next_ms) == "2026-12-08 09:00"
    assert decide(NINE, "once", DUE, DUE - 1).strike_ms is None


def test_after_a_week_the_time_of_this_minute_is_the_one() -> None:
    now_ms = ms("2026-12-07 09:01")
    decided = decide(NINE, "once", DUE, now_ms)
    assert (decided.strike_ms, decided.missed_ms) == (ms("2026-12-07 09:00"), DUE)


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.sampled_from(["skip", "once"]))
def test_each_decision_leaves_nothing_undecided(from_s: int, later_s: int, missed: str) -> None:
    at = cron_time("*/7 3,15 * * *")
    due_ms = next_ms(at, DUE + 1000 * from_s)
    now_ms = DUE + 1000 * (from_s + later_s)
    decided = decide(at, missed, due_ms, now_ms)  # type: ignore[arg-type]  # each of them
    assert decided.next_ms > now_ms or decided.next_ms == due_ms
    assert decided.next_ms == next_ms(at, max(now_ms, due_ms - 1))
    assert decided.strike_ms is None or due_ms <= decided.strike_ms <= now_ms


def test_a_new_text_begins_after_what_was_decided_before() -> None:
    """Unless a clock that was wrong has decided."""
    now_ms = DUE - 3_600_000
    assert first_ms(NINE, 0, now_ms) == DUE
    assert utc(first_ms(NINE, DUE + 1, now_ms)) == "2026-12-01 09:00"  # the clock was set back after nine
    assert first_ms(NINE, now_ms + WRONG_CLOCK_MS + 1, now_ms) == DUE
