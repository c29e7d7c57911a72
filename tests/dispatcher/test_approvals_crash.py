"""The process stops at every commit of an approval in turn: nothing leaves without a decision, and everything once after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dispatcher.approvals import deciding
from storage.engine import Connection, Database
from storage.reading import approval_pages, pages
from storage.records import Approval
from tests.conftest import PATIENCE_S
from tests.dispatcher.test_crash_points import Died, World, cancelled

RULES = """
[[rules]]
name = "upscale"
on = "task.succeeded"
if = "task.is_grid and 'cat' in task.prompt"
press = ["U1", "U3"]
approve = true
"""
POINTS = ["finish_delivery", "claim_delivery", "approval", "begin_attempt", "settle_attempt"]


@pytest.fixture
async def world(
    bench: Any, upstream: Any, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """One whose upstream lists what it has, so that a restarted process finds out what left."""
    monkeypatch.setattr("dispatcher.policy.submission_evidence.MODAL_MS", 0)
    monkeypatch.setattr("dispatcher.loops.heartbeat.BEAT_S", 0.2)
    monkeypatch.setattr("dispatcher.loops.restores.HOLD_S", 0)
    bench.rules(RULES)
    bench.options |= {"look_after_s": 0.1, "quiet_s": 0.1, "settle_after_s": 0.2, "timeout_s": 2.0}
    bench.database.fan_out_only(frozenset())
    await bench.callback("an older picture", prompt="a dog", buttons=[])
    upstream.listed.append(upstream.tasks["an older picture"])
    made = World(bench, upstream, database_url)
    yield made
    if made.database is not None:
        await made.die()


def presses(world: World) -> list[str]:
    """What was pressed on the cat, in order."""
    asked = world.upstream.received
    return sorted(
        body["customId"] for path, body in asked if path.endswith("/action") and "cat" in body["taskId"]
    )


async def seen(database: Database) -> tuple[list[Approval], list[str]]:
    def read(connection: Connection) -> tuple[list[Approval], list[str]]:
        made = [one for one in pages.submission_page(connection, most=500) if one.asked_by == "rule:upscale"]
        return approval_pages.approval_page(connection, most=9), sorted(one.state for one in made)

    return await database.read(read)


async def approve(world: World, approval_id: str) -> None:
    """Decide, unless the process dies meanwhile."""
    assert world.database is not None
    deciding_now = asyncio.create_task(
        deciding.decide(world.database, approval_id, "released", by="Ann", source="link")
    )
    dying = asyncio.create_task(world.dead.wait())
    await asyncio.wait([deciding_now, dying], return_when=asyncio.FIRST_COMPLETED)
    await cancelled(lambda: [dying, deciding_now])


async def run(world: World) -> None:
    """Until both presses are accepted, somebody approves what is open. Raises `Died` when the process does."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if world.dead.is_set():
                raise Died
            world._committed.clear()
            assert world.database is not None
            found, states = await seen(world.database)
            assert len(found) <= 1
            if states == ["accepted", "accepted"]:
                return
            if found and found[0].is_open:
                assert states == ["held", "held"]
                assert presses(world) == []  # nothing leaves before the decision
                await approve(world, found[0].id)
                continue
            await world._committed.wait()


@pytest.mark.parametrize("stage", ["before", "after"])
@pytest.mark.parametrize("name", POINTS)
async def test_a_stop_at_any_commit_of_an_approval_changes_nothing_in_the_end(
    world: World, stage: str, name: str
) -> None:
    """The first commit of that name after the grid has come; another process goes on, and somebody decides again."""
    left = 1

    def crash(at_stage: str, at_name: str) -> None:
        nonlocal left
        left -= armed and (at_stage, at_name) == (stage, name)
        if left <= 0:
            world.die_soon()
            raise Died

    armed = False
    await world.start(crash)
    await world.imagine("cat")
    armed = name != "begin_attempt" and name != "settle_attempt"
    try:
        if not armed:
            await until_open(world)
            armed = True
        await run(world)
    except Died:
        pass
    assert world.dead.is_set(), "it did not come to this commit"
    await world.die()
    await world.start()
    others = asyncio.create_task(world.go_on_submitting())
    try:
        await run(world)
    finally:
        await cancelled(lambda: [others])
    assert presses(world) == ["MJ::JOB::upsample::1::u", "MJ::JOB::upsample::3::u"]
    await world.stop()


async def until_open(world: World) -> None:
    """Until the approval is there."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            world._committed.clear()
            assert world.database is not None
            if (await seen(world.database))[0]:
                return
            await world._committed.wait()
