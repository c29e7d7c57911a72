"""The process stops at commits of runs that change `chain.store`: in the end each run that was kept has counted once."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hookchain import Chain, task_succeeded
from storage.deliveries import chain_stores
from storage.engine import Connection
from storage.reading import pages
from tests.conftest import PATIENCE_S
from tests.dispatcher.test_crash_points import Died, World, cancelled

TASKS = ["grid of cat", "grid of cat 1", "grid of cat 3"]


@pytest.fixture
async def world(
    bench: Any, upstream: Any, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """One whose upstream lists what it has, so that a restarted process finds out what left."""
    monkeypatch.setattr("dispatcher.policy.submission_evidence.MODAL_MS", 0)
    monkeypatch.setattr("dispatcher.loops.heartbeat.BEAT_S", 0.2)
    monkeypatch.setattr("dispatcher.loops.restores.HOLD_S", 0)
    bench.options |= {"look_after_s": 0.1, "quiet_s": 0.1, "settle_after_s": 0.2, "timeout_s": 2.0}
    bench.database.fan_out_only(frozenset())
    await bench.callback("an older picture", prompt="a dog", buttons=[])
    upstream.listed.append(upstream.tasks["an older picture"])
    made = World(bench, upstream, database_url)
    yield made
    if made.database is not None:
        await made.die()


def outcome(connection: Connection) -> tuple[list[Any], list[str]]:
    """What the chains hold, and the states of the presses on the cat."""
    stores = [json.loads(content) for content in chain_stores.contents(connection).values()]
    made = [one for one in pages.submission_page(connection, most=500) if one.parent_id == TASKS[0]]
    return stores, sorted(one.state for one in made)


async def run(world: World) -> dict[str, Any]:
    """Until both presses are accepted and each receiver has heard of all tasks. Raises `Died` when the process does."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if world.dead.is_set():
                raise Died
            world._committed.clear()
            assert world.database is not None
            stores, states = await world.database.read(outcome)
            of_cat = [one for one in stores if "grid of cat" in one.get("heard", [])]
            if states == ["accepted", "accepted"] and of_cat and of_cat[0].get("also") == len(TASKS):
                found: dict[str, Any] = of_cat[0]
                if len(found["heard"]) >= len(TASKS):
                    return found
            await world._committed.wait()


@pytest.mark.parametrize(
    ("name", "stage", "nth"),
    [
        ("claim_delivery", "after", 1),
        ("finish_delivery", "before", 1),
        ("finish_delivery", "after", 1),
        ("finish_delivery", "after", 2),
    ],
)
async def test_a_stop_at_a_commit_neither_loses_a_change_nor_makes_it_twice(
    world: World, name: str, stage: str, nth: int
) -> None:
    """Two receivers change the store of one chain for each of its tasks; what was not committed is seen by no later run."""

    @task_succeeded.connect
    def hears(action: str, *, task: Any, chain: Chain, **_: Any) -> None:
        if "cat" not in task.prompt:
            return
        chain.store.setdefault("heard", []).append(task.id)
        if task.is_grid:
            chain.press("U1", "U3")

    @task_succeeded.connect
    async def hears_also(action: str, *, task: Any, chain: Chain, **_: Any) -> None:
        if "cat" in task.prompt:
            chain.store["also"] = chain.store.get("also", 0) + 1

    left, armed, arming = nth, False, threading.Lock()

    def crash(at_stage: str, at_name: str) -> None:
        nonlocal left
        with arming:
            left -= armed and (at_stage, at_name) == (stage, name)
            if left <= 0:
                world.die_soon()
                raise Died

    await world.start(crash)
    await world.imagine_unheard("cat")
    armed = True
    world.wake()
    with pytest.raises(Died):
        await run(world)
    await world.die()
    await world.start()
    others = asyncio.create_task(world.go_on_submitting())
    try:
        found = await run(world)
    finally:
        await cancelled(lambda: [others])
    assert sorted(found["heard"]) == TASKS
    assert found["also"] == len(TASKS)
    asked = [
        body["customId"]
        for path, body in world.upstream.received
        if path.endswith("/action") and "cat" in body["taskId"]
    ]
    assert sorted(asked) == ["MJ::JOB::upsample::1::u", "MJ::JOB::upsample::3::u"]
    await world.stop()
