"""A clock that was set, in the database: what moves, what stays, and how a step is recognised that nobody saw."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import Engine

from dispatcher.loops.prune import CATCH_UP, pruning_time
from dispatcher.loops.timekeeper import Timekeeper
from dispatcher.policy import upstream_limits
from midjourney.dialects import Upstream
from storage import clock, clock_steps, schema
from storage.clock import Base
from storage.engine import Connection, Database, write_engine
from storage.records import Standing
from storage.upstreams.standings import Load

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
NOW_MS = 1_800_000_000_000


@pytest.fixture
def file(new_file: Path, tmp_path: Path) -> Iterator[Engine]:
    """A SQLite file of this release, for one connection."""
    shutil.copy(new_file, tmp_path / "x.db")
    engine = write_engine(f"sqlite:///{tmp_path}/x.db")
    yield engine
    engine.dispose()


def submission(number: int, state: str, *, written_ms: int, delay_ms: int = 0) -> dict[str, Any]:
    """A row that was written at a moment, to be sent so much later."""
    return {
        "id": f"s{number}", "idempotency_key": f"k{number}", "chain_id": "c", "upstream": "main", "kind": "imagine",
        "label": "", "request": b"", "parent_id": "", "depth": 0, "asked_by": "cli", "lane": "", "priority": 0,
        "queue_at_ms": written_ms + delay_ms, "state": state, "outcome": "", "reason": "", "task_ids": "[]",
        "attempts": 0, "forgiven": 0, "repeats": 0, "run_at_ms": written_ms + delay_ms, "started_at_ms": None,
        "created_at_ms": written_ms, "updated_at_ms": written_ms,
    }  # fmt: skip


def stored(*rows: dict[str, Any]) -> Any:
    """Puts rows there."""
    return lambda connection: connection.execute(schema.submissions.insert(), list(rows))


def run_at(connection: Connection) -> dict[str, int]:
    """When each is due."""
    return {row.id: row.run_at_ms for row in connection.execute(schema.submissions.select())}


def how_long(connection: Connection) -> float:
    """In how many days the one that waits is due, by the clock of this process."""
    return float(run_at(connection)["s1"] - clock.now_ms()) / DAY_MS


async def test_what_waits_moves_and_what_is_over_stays(database: Database) -> None:
    """An hour back: a press in three days is still three days away, and the time of an old one is what it was."""
    waits = submission(1, "waiting", written_ms=NOW_MS - DAY_MS, delay_ms=3 * DAY_MS)
    over = submission(2, "accepted", written_ms=NOW_MS - DAY_MS)
    counts = submission(3, "accepted", written_ms=NOW_MS - 1000)
    await database.write("test", stored(waits, over, counts))
    await database.write("test", lambda connection: clock_steps.shift(connection, -HOUR_MS, NOW_MS))
    found = await database.read(run_at)
    assert found["s1"] - (NOW_MS - HOUR_MS) == 2 * DAY_MS
    assert found["s2"] == over["run_at_ms"]
    assert found["s3"] == counts["run_at_ms"] - HOUR_MS  # else the hour's budget would count it for two


async def test_what_lies_further_ahead_than_its_own_delay_is_brought_back(database: Database) -> None:
    """Written an hour in the future, for a minute later: another clock wrote it, and it is a minute away. A long delay is not."""
    ahead = submission(1, "waiting", written_ms=NOW_MS + HOUR_MS, delay_ms=60_000)
    long = submission(2, "waiting", written_ms=NOW_MS, delay_ms=30 * DAY_MS)
    await database.write("test", stored(ahead, long))
    assert await database.read(lambda connection: clock_steps.is_any_impossible(connection, NOW_MS))
    assert await database.write("test", lambda connection: clock_steps.mend(connection, NOW_MS)) == 1
    assert await database.read(run_at) == {"s1": NOW_MS + 60_000, "s2": NOW_MS + 30 * DAY_MS}
    assert not await database.read(lambda connection: clock_steps.is_any_impossible(connection, NOW_MS))


@pytest.mark.parametrize(
    ("base", "step_ms"),
    [
        pytest.param(Base("this", 0), 5 * HOUR_MS, id="the same start of the machine: exactly, forward too"),
        pytest.param(Base("this", 5 * HOUR_MS), 0, id="the same start of the machine, and nobody set it"),
        pytest.param(Base("another", 0), -HOUR_MS, id="another start: what was written last lies ahead"),
        pytest.param(None, -HOUR_MS, id="a database that nobody has said anything in"),
    ],
)
async def test_a_step_between_two_runs(database: Database, base: Base | None, step_ms: int) -> None:
    """What waits was written an hour from now."""

    def store(connection: Connection) -> int:
        stored(submission(1, "waiting", written_ms=NOW_MS + HOUR_MS))(connection)
        if base is not None:
            clock_steps.keep_base(connection, base)
        return clock_steps.step_since(connection, "this", 5 * HOUR_MS, NOW_MS)

    assert await database.write("test", store) == step_ms


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_nothing_is_written_between_the_times_and_the_clock(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is put back by a year. Whatever asks beside it, what is due in three days is due in three days."""
    true_ns, ahead_ms = time.time_ns, 365 * DAY_MS
    keeper = Timekeeper(database, leads=lambda: False)
    try:
        monkeypatch.setattr(time, "time_ns", lambda: true_ns() + ahead_ms * 1_000_000)
        await keeper.take_over()
        await database.write(
            "stage", stored(submission(1, "waiting", written_ms=clock.now_ms(), delay_ms=3 * DAY_MS))
        )
        monkeypatch.setattr(time, "time_ns", true_ns)
        async with asyncio.TaskGroup() as beside:
            before = [beside.create_task(database.write("before", how_long)) for _ in range(3)]
            beside.create_task(keeper.turn())
            after = [beside.create_task(database.write("after", how_long)) for _ in range(3)]
    finally:
        clock.forget()
    found = [one.result() for one in before + after]
    assert all(abs(days - 3) < 0.01 for days in found), found


def test_time_passes_evenly_between_two_looks() -> None:
    """The machine's clock is an hour off, and nobody has looked yet: nobody's time has changed."""
    before_ms = clock.base_ms()
    try:
        assert clock.follow(before_ms - HOUR_MS, within_ms=0) <= -HOUR_MS + clock.STEP_MS
        assert clock.now_ms() < clock.wall_ms() - HOUR_MS + clock.STEP_MS
        now_ms = clock.now_ms()
        assert clock.follow(clock.base_ms() + clock.JITTER_MS) == 0  # an answer over a network, not a clock
        assert clock.now_ms() - now_ms < clock.STEP_MS
    finally:
        clock.forget()


hours = st.integers(-400 * 24, 400 * 24)


@given(looks=st.lists(st.tuples(st.integers(0, HOUR_MS), hours), min_size=1, max_size=12))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_often_the_clock_is_set_a_delay_stays_as_long(
    file: Engine, looks: list[tuple[int, int]]
) -> None:
    """To be sent in thirty days; meanwhile somebody sets the clock again and again. At each look as much of it is left as time has
    not passed, by a clock that nobody sets."""
    delay_ms, passed_ms = 30 * DAY_MS, 0
    with file.begin() as connection:
        connection.execute(schema.submissions.delete())
        clock_steps.keep_base(connection, Base("this", NOW_MS))
        stored(submission(1, "waiting", written_ms=NOW_MS, delay_ms=delay_ms))(connection)
        for later_ms, wrong_h in looks:
            passed_ms += later_ms
            base_ms = NOW_MS + wrong_h * HOUR_MS
            clock_steps.adopt(connection, Base("this", base_ms), base_ms + passed_ms)
            assert run_at(connection)["s1"] - (base_ms + passed_ms) == delay_ms - passed_ms


moments = st.integers(NOW_MS - 400 * DAY_MS, NOW_MS + 400 * DAY_MS)


@given(set_at_ms=moments, now_ms=moments, hold_ms=st.integers(0, DAY_MS), failures=st.integers(0, 12))
def test_no_clock_holds_an_upstream_for_longer_than_it_was_to_be_held(
    set_at_ms: int, now_ms: int, hold_ms: int, failures: int
) -> None:
    """Held, failed and used up at one moment, looked at at any other: it is closed for no longer than the longest of them."""
    upstream = Upstream(name="main", url="http://upstream", rate=2, concurrency=3)
    standing = upstream_limits.held(Standing(name="main"), set_at_ms, hold_ms)
    for _ in range(failures):
        standing = upstream_limits.failed(standing, set_at_ms)
    standing = upstream_limits.after_requests(upstream, standing, 5, set_at_ms)
    longest_ms = max(hold_ms, upstream_limits.BREAKER_LONGEST_MS, upstream_limits.LONGEST_AHEAD_MS)
    until_ms = upstream_limits.closed_until_ms(upstream, standing, now_ms)
    assert until_ms == 0 or now_ms < until_ms <= now_ms + longest_ms
    if until_ms == 0:
        assert upstream_limits.places(upstream, replace(standing, open_ms=0), Load(), now_ms) > 0


@given(
    looks=st.lists(st.tuples(st.integers(0, HOUR_MS), st.integers(-400 * DAY_MS, 400 * DAY_MS)), max_size=20)
)
def test_ages_grow_no_faster_than_time_allows(looks: list[tuple[int, int]]) -> None:
    """However a clock is set between passes: what is dropped as old is no more than so many times older than it is."""
    true_ms, last_ms = NOW_MS, NOW_MS
    for passed_ms, wrong_ms in looks:
        true_ms += passed_ms
        last_ms = pruning_time(true_ms + wrong_ms, last_ms, passed_ms)
        assert last_ms <= NOW_MS + CATCH_UP * (true_ms - NOW_MS)
        assert last_ms <= true_ms + wrong_ms
