"""The limit of an hour is exact, although what is far from it is not counted each time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import Connection

from storage.engine import Database
from storage.records import ChainUse, Staged
from storage.submissions import hourly, staging
from storage.submissions.hourly import COUNT_LASTS_MS, HOUR_MS, NEAR
from tests.support.plans import recorded
from tests.support.staged import wanted

FAR = NEAR + 50
"""A limit that is not near from the beginning."""


def refuse_from(limit: int) -> Callable[[ChainUse, Staged], str]:
    return lambda use, _staged: "the hour is full" if use.last_hour >= limit else ""


def ask(connection: Connection, name: str, number: int, now_ms: int, *, limit: int = FAR) -> int:
    """Ask for so many submissions; returns how many there were."""
    refuse = refuse_from(limit)
    return sum(
        staging.stage(
            connection, wanted(f"{name}-{one}", asked_by="rule:x"), refuse=refuse, now_ms=now_ms
        ).created
        for one in range(number)
    )


async def test_an_hour_has_its_limit_and_no_more(database: Database) -> None:
    made = [
        await database.write("stage", partial(ask, name=f"at-{n}", number=80, now_ms=n)) for n in range(5)
    ]
    assert made == [80, 80, 80, FAR - 240, 0]


async def test_the_next_hour_has_room_again_as_the_first_ones_leave_it(database: Database) -> None:
    for now_ms, number in ((0, 100), (1_000, FAR)):
        await database.write("stage", partial(ask, name=f"at-{now_ms}", number=number, now_ms=now_ms))
    made = [
        await database.write("stage", partial(ask, name=f"later-{now_ms}", number=FAR, now_ms=now_ms))
        for now_ms in (HOUR_MS - 1, HOUR_MS, HOUR_MS + 1_000)
    ]
    assert made == [0, 100, FAR - 100]


async def test_a_clock_that_goes_back_makes_no_room(database: Database) -> None:
    """What an earlier moment of the clock calls the last hour is counted, even if a later one had none."""
    await database.write("stage", partial(ask, name="first", number=NEAR + 40, now_ms=1_000))
    await database.write("stage", partial(ask, name="next", number=1, now_ms=HOUR_MS + 5_000))
    assert (
        await database.write("stage", partial(ask, name="back", number=FAR, now_ms=2_000)) == FAR - NEAR - 41
    )


@pytest.mark.parametrize("after_ms", [0, COUNT_LASTS_MS])
async def test_what_another_program_staged_is_seen(
    database: Database, database_url: str, after_ms: int
) -> None:
    """`NEAR` is room for what it stages unseen; what is more is seen when the count has lasted long enough."""
    unseen = NEAR if after_ms == 0 else FAR - 10
    await database.write("stage", partial(ask, name="ours", number=1, now_ms=0))
    other = Database(database_url)
    await other.open()
    await other.write("stage", partial(ask, name="theirs", number=unseen, now_ms=0))
    await other.close()
    made = await database.write("stage", partial(ask, name="then", number=FAR, now_ms=after_ms))
    assert made == FAR - unseen - 1


async def test_what_is_far_from_the_limit_is_counted_once(database: Database) -> None:
    def counts(connection: Connection) -> int:
        with recorded(connection) as plans:
            ask(connection, "far", 40, 1, limit=100_000)
        return sum("AS automatic" in plan.statement for plan in plans)

    assert await database.write("stage", counts) == 1


async def test_what_was_rolled_back_takes_no_room(database: Database) -> None:
    def broken(connection: Connection) -> None:
        ask(connection, "lost", FAR, 1)
        raise LookupError

    with pytest.raises(LookupError):
        await database.write("stage", broken)
    assert await database.write("stage", partial(ask, name="kept", number=FAR, now_ms=2)) == FAR
    assert await database.write("count", lambda c: hourly.exactly(c, "main", 2)) == FAR
