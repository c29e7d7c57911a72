"""The process stops at every commit of a rule that runs by the clock: its time counts once in the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from storage.records import STRUCK, Submission
from storage.timetable import timetable
from tests.conftest import PATIENCE_S
from tests.dispatcher.test_clock_rules import RULE, begin, due_now
from tests.dispatcher.test_crash_points import Died, World, cancelled

POINTS = ["strike", "claim_delivery", "finish_delivery", "begin_attempt", "settle_attempt"]


@pytest.fixture
async def world(
    bench: Any, upstream: Any, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """One whose upstream lists what it has, so that a restarted process finds out what left. The rule is due."""
    monkeypatch.setattr("dispatcher.policy.submission_evidence.MODAL_MS", 0)
    monkeypatch.setattr("dispatcher.loops.heartbeat.BEAT_S", 0.2)
    monkeypatch.setattr("dispatcher.loops.restores.HOLD_S", 0)
    every, minute_ms = due_now()
    bench.rules(RULE.format(every, ""))
    bench.options |= {"look_after_s": 0.1, "quiet_s": 0.1, "settle_after_s": 0.2, "timeout_s": 2.0}
    bench.database.fan_out_only(frozenset())
    await bench.callback("an older picture", prompt="a dog", buttons=[])
    upstream.listed.append(upstream.tasks["an older picture"])
    await begin(bench.database, every, minute_ms)
    made = World(bench, upstream, database_url)
    yield made
    if made.database is not None:
        await made.die()


async def made_by_the_rule(world: World) -> list[Submission]:
    return [one for one in await world.bench.submissions() if one.asked_by == "rule:nine"]


async def run(world: World) -> None:
    """Until the picture is accepted. Raises `Died` when the process does."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if world.dead.is_set():
                raise Died
            world._committed.clear()
            if [one.state for one in await made_by_the_rule(world)] == ["accepted"]:
                return
            await world._committed.wait()


@pytest.mark.parametrize("stage", ["before", "after"])
@pytest.mark.parametrize("name", POINTS)
async def test_a_stop_at_any_commit_pays_for_one_picture(world: World, stage: str, name: str) -> None:
    """Another process goes on with what is on disk."""
    left = 1

    def crash(at_stage: str, at_name: str) -> None:
        nonlocal left
        left -= (at_stage, at_name) == (stage, name)
        if left <= 0:
            world.die_soon()
            raise Died

    await world.start(crash)
    with contextlib.suppress(Died):  # what the last commit shows may be seen before the process is gone
        await run(world)
    async with asyncio.timeout(PATIENCE_S):  # else it did not come to this commit
        await world.dead.wait()
    await world.die()
    await world.start()
    others = asyncio.create_task(world.go_on_submitting())
    try:
        await run(world)
    finally:
        await cancelled(lambda: [others])
    assert [body.get("prompt") for _, body in world.upstream.received].count("a cat") == 1
    assert [event.signal for event in await world.bench.events()].count(STRUCK) == 1
    rows = await world.bench.database.read(timetable.rows)
    assert list(rows) == ["nine"]
    await world.stop()
