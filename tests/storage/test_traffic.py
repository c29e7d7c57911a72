"""Figures of many processes add up, minute by minute, and none is lost between the meter and the table."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from sqlalchemy import Connection, func, select

from storage import meter, schema, traffic
from storage.engine import Database
from storage.meter import MINUTE_MS, Meter, Minute, Series
from storage.traffic import Point

NOON_MS = 1_700_000_040_000 // (60 * MINUTE_MS) * 60 * MINUTE_MS


def minute(number: int, happened: int, series: Series = "callbacks", *, each_us: int = 1500) -> Minute:
    """The figures of a minute after noon."""
    return Minute(
        minute_ms=NOON_MS + number * MINUTE_MS,
        series=series,
        happened=happened,
        total_us=happened * each_us,
        slowest_us=each_us,
    )


async def add(database: Database, *minutes: Minute) -> None:
    await database.write("traffic", partial(traffic.add, minutes=minutes))


async def happened(database: Database, minutes: int, step: int = 1) -> list[int]:
    """How many callbacks each step of the time after noon has."""
    found = await database.read(
        lambda c: traffic.series(c, NOON_MS, NOON_MS + minutes * MINUTE_MS, step * MINUTE_MS)
    )
    return [point.happened for point in found["callbacks"]]


def rows(connection: Connection) -> int:
    found: int = connection.execute(select(func.count()).select_from(schema.traffic)).scalar_one()
    return found


async def test_figures_are_added_to_what_is_there(database: Database) -> None:
    """The slowest is the slowest of all, the mean that of all; series are kept apart."""
    await add(database, minute(0, 2, each_us=1000), minute(0, 7, "refused"))
    await add(database, minute(0, 1, each_us=4000))
    await add(database, minute(0, 1, each_us=2000))
    found = await database.read(lambda c: traffic.series(c, NOON_MS, NOON_MS + 1, MINUTE_MS))
    assert found == {
        "callbacks": [Point(at_ms=NOON_MS, happened=4, mean_ms=2.0, slowest_ms=4.0)],
        "refused": [Point(at_ms=NOON_MS, happened=7, mean_ms=1.5, slowest_ms=1.5)],
        "submissions": [Point(at_ms=NOON_MS, happened=0, mean_ms=0.0, slowest_ms=0.0)],
        "deliveries": [Point(at_ms=NOON_MS, happened=0, mean_ms=0.0, slowest_ms=0.0)],
    }


async def test_processes_that_write_at_once_add_up(database: Database, database_url: str) -> None:
    """Three of them, the same minutes, again and again."""
    others = [Database(database_url) for _ in range(2)]
    for other in others:
        await other.open()
    everybody = [database, *others]
    minutes = [minute(0, 1), minute(0, 1, "refused"), minute(1, 2), minute(1, 2, "submissions")]
    await asyncio.gather(*(add(everybody[number % 3], *minutes) for number in range(30)))
    for other in others:
        await other.close()
    assert await happened(database, 2) == [30, 60]
    assert await database.read(rows) == len(minutes)


async def test_steps_have_no_gaps_and_begin_at_whole_ones(database: Database) -> None:
    """From the one that the beginning lies in to the one that is under way, and nothing from outside."""
    await add(database, minute(-1, 100), minute(0, 1), minute(2, 2), minute(6, 4), minute(10, 100))
    assert await happened(database, 10) == [1, 0, 2, 0, 0, 0, 4, 0, 0, 0]
    assert await happened(database, 10, step=5) == [3, 4]
    found = await database.read(
        lambda c: traffic.series(c, NOON_MS + 6 * MINUTE_MS + 1, NOON_MS + 7 * MINUTE_MS + 1, 5 * MINUTE_MS)
    )
    assert [(one.at_ms - NOON_MS, one.happened) for one in found["callbacks"]] == [(5 * MINUTE_MS, 4)]


async def test_nothing_at_all_is_zeros(database: Database) -> None:
    """And a time that has not come has no steps."""
    assert await happened(database, 3) == [0, 0, 0]
    assert await happened(database, -3) == []


async def test_what_is_old_goes_in_bites(database: Database) -> None:
    """A gap between the minutes ends no pass; what is not old stays."""
    await add(database, *(minute(number, 1) for number in (0, 1, 2, 500, 501, 900)))
    before_ms = NOON_MS + 501 * MINUTE_MS
    gone: list[int] = []
    while not gone or gone[-1]:
        gone.append(await database.write("prune", lambda c: traffic.prune(c, before_ms, 2 * MINUTE_MS)))
    assert gone == [2, 1, 1, 0]
    assert sum(await happened(database, 1000)) == 2


def test_a_meter_gives_each_figure_once() -> None:
    """And again what was given back, beside what was counted since."""
    counting = Meter()
    counting.count("callbacks", NOON_MS + 1, 10)
    counting.count("callbacks", NOON_MS + MINUTE_MS - 1, 30)
    counting.count("callbacks", NOON_MS + MINUTE_MS, -5)
    taken = counting.take()
    assert [(one.minute_ms - NOON_MS, one.happened, one.total_us, one.slowest_us) for one in taken] == [
        (0, 2, 40, 30),
        (MINUTE_MS, 1, 0, 0),
    ]
    assert counting.take() == []
    counting.count("callbacks", NOON_MS, 20)
    counting.give_back(taken)
    (first, second) = counting.take()
    assert (first.happened, first.total_us, first.slowest_us) == (3, 60, 30)
    assert second == taken[1]
    assert (counting.since_start["callbacks"].happened, counting.since_start["callbacks"].total_us) == (4, 60)


def test_a_meter_that_nobody_reads_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is away for days: the figures count, their time gets coarser."""
    monkeypatch.setattr(meter, "MOST_MINUTES", 10)
    counting = Meter()
    for number in range(1000):
        counting.count("refused", NOON_MS + number * MINUTE_MS, number)
    taken = counting.take()
    assert [(one.minute_ms - NOON_MS) // MINUTE_MS for one in taken] == list(range(990, 1000))
    assert (sum(one.happened for one in taken), sum(one.total_us for one in taken)) == (1000, 499_500)
    assert (taken[0].happened, taken[0].slowest_us) == (991, 990)
