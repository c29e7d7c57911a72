"""What processes counted is there for charts: after a stop, after a restart, after a database that was away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, text

from dispatcher.by_hand import commands, dead_letters
from dispatcher.loops.count_traffic import TrafficCount
from dispatcher.plugins.errors import GiveUp
from dispatcher.plugins.signals import task_succeeded
from hookchain.settings.load import Settings, load_settings
from hookchain.wiring import connect_receivers, hook_url, running, working
from midjourney.decode import decode_task
from midjourney.dialects import DIALECTS
from midjourney.requests import Imagine
from storage import traffic
from storage.clock import now_ms
from storage.engine import Database
from storage.errors import NotDurable
from storage.meter import MINUTE_MS, Series
from storage.records import Incoming
from tests.conftest import PATIENCE_S

CALLBACK = {"id": "1", "action": "IMAGINE", "status": "SUBMITTED"}
MINUTE_US = MINUTE_MS * 1000


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop gives the last figures a second, which a busy machine may take; a database that is away refuses at once."""
    monkeypatch.setattr("dispatcher.loops.count_traffic.LAST_WITHIN_S", 30.0)


def settings_for(database_url: str, directory: Path, upstream_url: str = "http://127.0.0.1:9") -> Settings:
    return load_settings(
        {"HOOKCHAIN_SECRET": "s", "HOOKCHAIN_UPSTREAM_URL": upstream_url, "DATABASE_URL": database_url},
        directory,
    )


@asynccontextmanager
async def receiving(settings: Settings, *, with_worker: bool = False) -> AsyncIterator[httpx.AsyncClient]:
    """A server, without the network."""
    parts = running(settings, connect_receivers(settings), with_worker=with_worker)
    async with parts as server:
        transport = httpx.ASGITransport(server.application, client=("127.0.0.1", 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            yield http


async def sums(database: Database) -> dict[str, int]:
    """How often each happened in this hour and the one before, by the table; what never did is left out."""
    until_ms = now_ms() + MINUTE_MS
    found = await database.read(lambda c: traffic.series(c, until_ms - 60 * MINUTE_MS, until_ms, MINUTE_MS))
    told = {name: sum(point.happened for point in points) for name, points in found.items()}
    return {name: happened for name, happened in told.items() if happened}


def slowest_s(database: Database, series: Series) -> float:
    """Of what this process counted and has not written."""
    taken = database.meter.take()
    database.meter.give_back(taken)
    return max(one.slowest_us for one in taken if one.series == series) / 1_000_000


def imagine(connection: Connection, prompt: str, at_ms: int) -> None:
    commands.submit(
        connection,
        Imagine(prompt=prompt),
        upstream="main",
        dialect=DIALECTS["trueai"],
        asked_by="test",
        now_ms=at_ms,
    )


def break_off(connection: Connection) -> None:
    """The next write through this connection is refused; the one after it goes through a new one."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("PRAGMA query_only = 1"))
    else:
        connection.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))


async def test_every_callback_counts_once_and_a_restart_keeps_it(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    """Two servers one after the other: what was kept, and what was not, for whatever reason."""
    settings = settings_for(database_url, tmp_path)
    hook = hook_url(settings, "s", "main").removeprefix(settings.hook_base)
    async with receiving(settings) as http:
        answers = await asyncio.gather(*(http.post(hook, json=CALLBACK) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}
        for path, body in (("/notify/wrong", b"{}"), (hook, b"no json"), (hook, b"[]")):
            assert (await http.post(path, content=body)).status_code in (400, 404, 422)
        metrics = (await http.get("/metrics")).text
        assert 'hookchain_callbacks_total{answer="kept"} 50.0\n' in metrics
        assert 'hookchain_callbacks_total{answer="refused"} 3.0\n' in metrics
        assert "hookchain_callback_seconds_count 50.0\n" in metrics
    assert await sums(database) == {"callbacks": 50, "refused": 3}
    async with receiving(settings) as http:
        assert (await http.post(hook, json=CALLBACK)).status_code == 200
    assert await sums(database) == {"callbacks": 51, "refused": 3}
    async with receiving(settings) as http:
        told = (await http.get("/api/traffic")).json()
    assert (told["step_s"], len(told["series"]["callbacks"])) == (60, 61)
    assert sum(point["happened"] for point in told["series"]["callbacks"]) == 51
    (*_, last) = [point for point in told["series"]["callbacks"] if point["happened"]]
    assert 0 < last["mean_ms"] <= last["slowest_ms"]


@pytest.mark.parametrize("with_web", [False, True], ids=["a worker alone", "a server that works too"])
async def test_what_a_worker_sent_counts(
    bench: Any, tmp_path: Path, database_url: str, with_web: bool
) -> None:
    """The figures are in the table when it has stopped."""
    for number in range(3):
        await bench.database.write("stage", partial(imagine, prompt=f"cat {number}", at_ms=now_ms()))
    settings = settings_for(database_url, tmp_path, bench.upstream.url)
    async with (
        receiving(settings, with_worker=True) if with_web else working(settings, connect_receivers(settings))
    ):
        await bench.until(lambda: all_sent(bench, 3))
    assert await sums(bench.database) == {"submissions": 3}


def callback_of(task_id: str, received_at_ms: int = 0) -> Incoming:
    """A task that has succeeded, now or then."""
    return Incoming(
        upstream="main",
        task=decode_task(b'{"id":"%s","action":"IMAGINE","status":"SUCCESS"}' % task_id.encode()),
        submission_id="",
        source="callback",
        received_at_ms=received_at_ms or now_ms(),
    )


async def all_sent(bench: Any, how_many: int) -> bool:
    return [one.state for one in await bench.submissions()] == ["accepted"] * how_many


async def test_a_wait_begins_when_a_submission_was_due(bench: Any) -> None:
    """Asked for a minute ago, sent now: a minute. An answer that never comes was a request all the same."""
    bench.upstream.answer = lambda path, body: (
        None if "silent" in body["prompt"] else (200, {"code": 1, "result": "c"})
    )
    for prompt in ("a cat", "a silent cat"):
        await bench.database.write("stage", partial(imagine, prompt=prompt, at_ms=now_ms() - MINUTE_MS))
    await bench.start()
    await bench.until_states("accepted", "uncertain")
    assert bench.database.meter.since_start["submissions"].happened == 2
    assert 60 <= slowest_s(bench.database, "submissions") < 90


async def test_what_takes_long_is_told_apart(bench: Any) -> None:
    """A receiver that runs, the request that it asked for, and each request to the upstream by what it asks."""

    @task_succeeded.connect
    async def asks(action: str, *, chain: Any, **_: Any) -> None:
        await chain.imagine("another cat")

    bench.upstream.answer = lambda path, body: (200, {"code": 1, "result": "c"})
    bench.upstream.tasks["1"] = {"id": "1", "action": "IMAGINE", "status": "SUCCESS"}
    await bench.database.append(callback_of("1"))
    await bench.start()
    await bench.until_states("accepted")
    timings = bench.database.timings
    counted = {request: histogram.happened for (_, request), histogram in timings.requests.items()}
    assert (timings.runs.happened, timings.submissions.happened) == (1, 1)
    assert (counted["submit"], counted["fetch"]) == (1, 1)
    assert bench.database.transactions().happened > 0


async def test_what_was_not_sent_is_not_counted(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there."""
    monkeypatch.setattr("dispatcher.loops.restores.HOLD_S", 0)  # nobody waits for its list
    bench.upstream.url = "http://127.0.0.1:9"
    await bench.database.write("stage", partial(imagine, prompt="a cat", at_ms=now_ms()))
    await bench.start()

    async def tried() -> bool:
        (one,) = await bench.submissions()
        return (one.state, one.outcome) == ("waiting", "not_sent")

    await bench.until(tried)
    assert bench.database.meter.since_start["submissions"].happened == 0


async def test_a_delivery_waits_from_its_event_on_and_a_repeated_one_from_when_it_was_due(bench: Any) -> None:
    """The callback is a minute old, so its first run is late; the second, by hand, is not."""
    runs: list[str] = []

    @task_succeeded.connect
    async def gives_up(action: str, **_: Any) -> None:
        runs.append(action)
        if len(runs) == 1:
            raise GiveUp("not today")

    bench.upstream.tasks["1"] = {"id": "1", "action": "IMAGINE", "status": "SUCCESS"}
    await bench.database.append(callback_of("1", received_at_ms=now_ms() - MINUTE_MS))
    await bench.start()
    await bench.until_quiet()
    (dead,) = await bench.deliveries()
    waited = bench.database.meter.since_start["deliveries"]
    assert (dead.state, waited.happened) == ("dead", 1)
    assert MINUTE_US <= waited.total_us < 1.5 * MINUTE_US
    await bench.database.write("retry", lambda c: dead_letters.retry(c, f"delivery-{dead.id}", now_ms()))
    bench.database.wakeups.wake("events")
    await bench.until_quiet()
    assert (len(runs), waited.happened) == (2, 2)
    assert waited.total_us < 1.5 * MINUTE_US


async def test_a_database_that_is_away_loses_no_figures(database: Database) -> None:
    """They are held, together with what happens in the meantime."""
    tally = TrafficCount(database)
    database.meter.count("callbacks", now_ms(), 1)
    await database.write("break", break_off)
    with pytest.raises(NotDurable):
        await tally.turn()
    database.meter.count("callbacks", now_ms(), 1)
    await tally.turn()
    await tally.turn()
    assert await sums(database) == {"callbacks": 2}


async def test_the_loop_goes_on_after_the_database_was_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself, and long before its next turn would have come."""
    monkeypatch.setattr("dispatcher.loops.loop.FAILED_TURN_PAUSE_S", 0.01)
    written = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_commit(stage: str, name: str) -> None:
        if (stage, name) == ("after", "traffic"):
            loop.call_soon_threadsafe(written.set)

    database.observe(on_commit)
    database.meter.count("callbacks", now_ms(), 1)
    await database.write("break", break_off)
    tally = TrafficCount(database)
    tally.loop.start()
    async with asyncio.timeout(PATIENCE_S):
        await written.wait()
    await tally.stop()
    assert await sums(database) == {"callbacks": 1}


async def test_a_stop_writes_the_rest(database: Database) -> None:
    """Whatever was counted since the last turn."""
    tally = TrafficCount(database)
    tally.loop.start()
    database.meter.count("callbacks", now_ms(), 1)
    await tally.stop()
    database.meter.count("refused", now_ms(), 1)
    assert await sums(database) == {"callbacks": 1}
    await tally.stop()
    assert await sums(database) == {"callbacks": 1, "refused": 1}


async def test_a_stop_does_not_wait_for_a_database_that_is_away(database: Database) -> None:
    """The process ends; the figures are still held, for whoever looks."""
    tally = TrafficCount(database)
    database.meter.count("callbacks", now_ms(), 1)
    await database.write("break", break_off)
    await tally.stop()
    assert await sums(database) == {}
    assert [one.happened for one in database.meter.take()] == [1]


async def test_nothing_counted_writes_nothing(database: Database) -> None:
    """An idle process leaves the disk alone."""
    commits: list[str] = []
    database.observe(lambda _stage, name: commits.append(name))
    await TrafficCount(database).turn()
    assert commits == []
