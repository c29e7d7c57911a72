"""The process stops at every commit of a chain in turn, and goes on with what is on disk: the end is always the same."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select

from dispatcher.by_hand import commands
from hookchain.worker import Worker
from midjourney.dialects import DIALECTS
from midjourney.requests import Action, Imagine, Request
from storage import schema
from storage.clock import now_ms
from storage.engine import Connection, Database
from storage.reading import pages
from storage.workers import leases
from tests.conftest import PATIENCE_S

VARY = "MJ::JOB::low_variation::1::u::SOLO"
RULES = """
[[rules]]
name = "upscale"
on = "task.succeeded"
if = "task.is_grid and 'cat' in task.prompt"
press = ["U1", "U3"]

[[rules]]
name = "vary"
on = "task.succeeded"
if = "task.image_number == 3"
press = "vary_subtle"
after = 0.1
unless = "chain.pressed"

[[rules]]
name = "never"
on = "task.succeeded"
if = "task.is_grid and 'cat' in task.prompt"
press = "U4"
after = 0.1
unless = "task.is_grid"

[[rules]]
name = "one more"
on = "chain.rested"
if = "'cat' in task.prompt"
press = "U2"
"""
POINTS = [
    *("ingest", "fan_out", "join", "claim_delivery", "finish_delivery", "clear_scheduled", "drop_scheduled"),
    *("begin_attempt", "settle_attempt"),
]
ENOUGH = 40
"""More commits of one name than a chain comes to."""

HURRIED = {"settle", "reconcile", "ask again"}
"""Loops whose next turn a chain may wait for. If all turned as often, they would take longer than the chain."""

TASKS = 5
"""Of each chain: a grid, two upscales, a variation; and an upscale that is requested when these have ended."""

DELIVERIES = 3 * TASKS + 1
"""Of each chain: three rules hear of each task, and one hears once that the chain rests: what that requests gives no second rest."""


class Died(BaseException):
    """The process is gone: nothing after this is written, and nobody is told."""


async def cancelled(running: Callable[[], Iterable[asyncio.Task[Any]]]) -> None:
    """Returns when all of them have ended, and those that they began meanwhile. asyncio.wait_for, which psycopg waits by, may lose
    a cancellation (Python 3.11)."""
    while pending := [task for task in running() if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=2.0)


class World:
    """One file, one upstream that ends every task at once and calls back once, and a process that may die."""

    def __init__(self, bench: Any, upstream: Any, url: str) -> None:
        self.bench = bench
        self.upstream = upstream
        self.url = url
        self.dead = asyncio.Event()
        self.worker: Worker | None = None
        self.database: Database | None = None
        self._loop = asyncio.get_running_loop()
        self._committed = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()
        upstream.answer = self.answer

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Accept everything; the task has ended by the time the answer is read."""
        if path.endswith("/imagine"):
            task_id, made = f"grid of {body['prompt']}", self.grid(body["prompt"])
        else:
            number = body["customId"].split("::")[3]
            vary = body["customId"] == VARY
            task_id, made = f"{body['taskId']} {'vary' if vary else number}", self.child(vary, number, body)
        task = made | {"id": task_id, "status": "SUCCESS", "progress": "100%", "state": body["state"]}
        self.upstream.tasks[task_id] = task
        self.upstream.listed.append(task)
        mark = body["notifyHook"].rsplit("/", 1)[-1]
        call = asyncio.create_task(self.call(task_id, mark, task))
        self._calls.add(call)
        call.add_done_callback(self._heard)
        return 200, {"code": 1, "description": "ok", "result": task_id}

    def _heard(self, call: asyncio.Task[None]) -> None:
        """A callback that the process did not live to answer is no error; any other fails the test."""
        if self.dead.is_set() or call.cancelled() or call.exception() is None:
            self._calls.discard(call)

    def grid(self, prompt: str) -> dict[str, Any]:
        buttons = [{"customId": f"MJ::JOB::upsample::{n}::u", "label": f"U{n}"} for n in (1, 2, 3, 4)]
        return {"action": "IMAGINE", "prompt": prompt, "buttons": buttons}

    def child(self, vary: bool, number: str, body: dict[str, Any]) -> dict[str, Any]:
        if vary:
            return {"action": "VARIATION", "prompt": "a cat", "buttons": []}
        shown = {"messageContent": f"**a cat** - Image #{number} <@1>"}
        buttons = [{"customId": VARY, "label": "Vary (Subtle)"}]
        return {"action": "UPSCALE", "prompt": "a cat", "properties": shown, "buttons": buttons}

    async def call(self, task_id: str, mark: str, task: dict[str, Any]) -> None:
        """The callback; nobody hears it when the process is dead."""
        if not self.dead.is_set():
            self.bench.database = self.database
            await self.bench.callback(task_id, mark, forged=True, **task)

    async def start(self, crash: Callable[[str, str], None] | None = None) -> None:
        """A process, so long after the last one that its lease has run out, and here for long enough to say so."""
        self.dead.clear()
        self.database = self.bench.database = Database(self.url)
        await self.database.open()
        if crash is not None:
            self.database.observe(crash)
        self.database.observe(self._on_commit)
        self.worker = self.bench.worker()
        for loop in self.worker._loops:
            if loop.name in HURRIED:
                loop._interval_s = 0.1
        name = self.worker._membership.name
        await self.database.write("release", lambda connection: _hour_passes(connection, name))
        await self.worker.start()

    async def die(self) -> None:
        """Everything that runs is gone, and only what was committed is left."""
        assert self.worker is not None
        assert self.database is not None
        await cancelled(self._running)
        await asyncio.gather(*self._running(), return_exceptions=True)
        self._calls.clear()
        await self.worker._historian.stop()
        for readback in self.worker._readbacks.values():
            await readback.aclose()
        for client in self.worker._clients.values():
            await client.aclose()
        for writer in self.database._writers:
            assert writer._task is not None
            writer._task.cancel()
            await asyncio.gather(writer._task, return_exceptions=True)
            await self._loop.run_in_executor(writer._thread, writer._connection.close)
            writer._thread.shutdown()
        if self.database._announcer is not None:
            await self.database._announcer.stop()
        await self.database._readers.close()
        await self.database._looks.close()
        if self.database.worker_lock is not None:
            self.database.worker_lock.release()
        self.database = None

    def _running(self) -> list[asyncio.Task[Any]]:
        assert self.worker is not None
        loops = (*self.worker._loops, self.worker._membership.loop)
        return [task for loop in loops for task in (loop._loop_task, *loop._running) if task] + [*self._calls]

    async def stop(self) -> None:
        """The end of a process that is well."""
        assert self.worker is not None
        assert self.database is not None
        await asyncio.gather(*self._calls)
        await self.worker.stop()
        await self.database.close()
        self.database = None

    def _on_commit(self, stage: str, _name: str) -> None:
        """Called in the writing thread."""
        if stage == "after":
            self._loop.call_soon_threadsafe(self._committed.set)

    def die_soon(self) -> None:
        """Called in the writing thread."""
        self._loop.call_soon_threadsafe(self._is_dead)

    def _is_dead(self) -> None:
        self.dead.set()
        self._committed.set()  # whoever waits for a commit waits in vain

    def wake(self) -> None:
        assert self.database is not None
        self.database.wakeups.wake("submissions")

    async def imagine(self, prompt: str) -> None:
        await self.imagine_unheard(prompt)
        self.wake()

    async def go_on_submitting(self) -> None:
        """Pictures that no rule presses, and people who do: in the upstream's list they are newer than what was under way when the
        process died, and show that it lists marks of either kind. On PostgreSQL, where nobody notes what left, only that shows that
        it never came."""
        names = [f"dog {time.monotonic()} {n}" for n in range(int(PATIENCE_S))]
        for name, before in zip(names, ["", *names], strict=False):
            await asyncio.sleep(0.25)  # the ordinary course of things, not something to wait for
            await self.imagine(name)
            if before:
                with contextlib.suppress(commands.NotOffered):  # that picture is not there yet
                    await self.submit(
                        Action(task_id=f"grid of {before}", custom_id="MJ::JOB::upsample::1::u")
                    )

    async def imagine_unheard(self, prompt: str) -> None:
        """Stage it; the loops are not woken."""
        await self.submit(Imagine(prompt=prompt))

    async def submit(self, request: Request) -> None:
        assert self.database is not None
        await self.database.write(
            "command",
            lambda connection: commands.submit(
                connection,
                request,
                upstream="main",
                dialect=DIALECTS["trueai"],
                asked_by="test",
                now_ms=now_ms(),
            ),
        )

    async def end_state(self, name: str) -> dict[str, Any]:
        """What there is of the chain of this prompt when nothing of it is to be done any more. Raises `Died`, between two reads."""
        assert self.database is not None
        deadline_s = time.monotonic() + PATIENCE_S  # its own, to tell what there is
        while True:
            if self.dead.is_set():
                raise Died
            self._committed.clear()
            # To read a whole chain costs as much as to run it: it is read once it may have ended.
            if await self.database.read(lambda connection: _delivered(connection, name)) >= DELIVERIES:
                state = await self.database.read(lambda connection: _state(connection, name))
                if _at_rest(state):
                    break
            assert time.monotonic() < deadline_s, await self.database.read(lambda c: _state(c, name))
            await self._committed.wait()  # the heartbeat comes in any case
        asked = [_asked(*one) for one in self.upstream.received]
        return state | {"asked": sorted(one.replace(name, "X") for one in asked if name in one)}


def _hour_passes(connection: Connection, name: str) -> None:
    """Whoever was here is gone, and the worker of this name has been here all the time."""
    connection.execute(delete(schema.leases).where(schema.leases.c.name != "fan_out"))
    since_ms, until_ms = now_ms() - 3_600_000, now_ms() + leases.TTL_MS
    lease = {"name": f"worker:{name}", "holder": name, "since_ms": since_ms, "until_ms": until_ms}
    connection.execute(insert(schema.leases).values(lease))


def _delivered(connection: Connection, name: str) -> int:
    """How many deliveries are done of the chain of this prompt: those of others, such as the dogs', do not tell that it has ended."""
    both = schema.deliveries.join(schema.events, schema.events.c.id == schema.deliveries.c.event_id)
    done = select(func.count()).select_from(both).where(schema.deliveries.c.state == "done")
    return connection.execute(
        done.where(schema.events.c.task_id.contains(name, autoescape=True))
    ).scalar_one()


def _asked(path: str, body: dict[str, Any]) -> str:
    """What a request is about, without our marks in it."""
    return json.dumps([path, body.get("prompt", ""), body.get("taskId", ""), body.get("customId", "")])


def _state(connection: Connection, name: str) -> dict[str, list[str]]:
    """All that counts of one chain, without the ids and times that no two runs share; `name` is in all its tasks' ids."""
    tasks = [one for one in pages.task_page(connection, most=500, before=None, equal={}) if name in one.id]
    chain_ids = {one.chain_id for one in tasks}
    chains = [
        one for one in pages.chain_page(connection, most=500, before=None, equal={}) if one.id in chain_ids
    ]
    submissions = [one for one in pages.submission_page(connection, most=500) if one.chain_id in chain_ids]
    events = {one.id: one for one in pages.event_page(connection, most=5000) if name in one.task_id}
    deliveries = [one for one in pages.delivery_page(connection, most=5000) if one.event_id in events]
    rows: dict[str, list[tuple[object, ...]]] = {
        "tasks": [(one.id, one.status, one.action, one.parent_id, one.depth) for one in tasks],
        "submissions": [
            (one.kind, one.label, one.parent_id, one.depth, one.asked_by, one.task_ids, one.state)
            for one in submissions
        ],
        "deliveries": [
            (one.receiver, events[one.event_id].signal, events[one.event_id].task_id, one.fired, one.state)
            for one in deliveries
        ],
        "chains": [(one.root_task_id, one.submissions) for one in chains],
    }
    return {kind: sorted(str(row).replace(name, "X") for row in found) for kind, found in rows.items()}


def _at_rest(state: dict[str, list[str]]) -> bool:
    return (
        len(state["tasks"]) == TASKS
        and all("'SUCCESS'" in row for row in state["tasks"])
        and all(
            row.endswith("'rejected')" if "'U4'" in row else "'accepted')") for row in state["submissions"]
        )
        and len(state["deliveries"]) == DELIVERIES
        and all(row.endswith("'done')") for row in state["deliveries"])
    )


@pytest.fixture
async def world(
    bench: Any, upstream: Any, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """With an older picture in the upstream's list: that is how the list can disprove an imagine."""
    monkeypatch.setattr("dispatcher.policy.submission_evidence.MODAL_MS", 0)
    monkeypatch.setattr("dispatcher.loops.heartbeat.BEAT_S", 0.2)
    # The list is looked at so seldom that it counts as late, and a start waits for a late list: 8 s for each stop. No copy is put back.
    monkeypatch.setattr("dispatcher.loops.restores.HOLD_S", 0)
    bench.rules(RULES)
    bench.options |= {"look_after_s": 0.1, "quiet_s": 0.1, "settle_after_s": 0.2}
    bench.options |= {"timeout_s": 2.0}  # what is under way when the process dies has as long
    bench.database.fan_out_only(frozenset())
    await bench.callback("an older picture", prompt="a dog", buttons=[])
    upstream.listed.append(upstream.tasks["an older picture"])
    world = World(bench, upstream, database_url)
    yield world
    if world.database is not None:  # the test failed: what it leaves open would fail others
        await world.die()


_undisturbed: dict[str, Any] = {}


async def undisturbed(world: World) -> dict[str, Any]:
    """The end of a chain without any stop: the same for all, so that one runs for all of them."""
    if not _undisturbed:
        _undisturbed.update(await run_undisturbed(world))
    return _undisturbed


async def run_undisturbed(world: World) -> dict[str, Any]:
    await world.start()
    await world.imagine("cat-first")
    state = await world.end_state("cat-first")
    await world.stop()
    return state


async def test_the_undisturbed_chain_is_what_the_rules_say(world: World) -> None:
    """What all others are compared with: two upscales, a variation of one of them, one more at the end, each asked for once; a
    fourth upscale is never sent, because its `unless` holds."""
    state = await run_undisturbed(world)
    assert [row.split(",")[0] for row in state["tasks"]] == [
        "('grid of X 1'",
        "('grid of X 2'",
        "('grid of X 3 vary'",
        "('grid of X 3'",
        "('grid of X'",
    ]
    assert len(set(state["asked"])) == len(state["asked"]) == TASKS
    assert state["chains"] == ["('grid of X', 6)"]


# Before a commit is much as after the one before it, and PostgreSQL much as SQLite: of those every fourth is tried here, and
# all of them with the long tests.
@pytest.mark.parametrize(
    ("database_url", "stage", "step"),
    [
        ("sqlite", "before", 4),
        ("sqlite", "after", 1),
        ("postgres", "after", 4),
        pytest.param("sqlite", "before", 1, marks=pytest.mark.soak),
        pytest.param("postgres", "before", 1, marks=pytest.mark.soak),
        pytest.param("postgres", "after", 1, marks=pytest.mark.soak),
    ],
    indirect=["database_url"],
)
@pytest.mark.parametrize("name", POINTS)
async def test_a_stop_at_any_commit_changes_nothing_in_the_end(
    world: World, stage: str, step: int, name: str
) -> None:
    """At the first commit of that name, the second … until a chain comes to its end before so many."""
    expected = await undisturbed(world)
    for nth in range(1, ENOUGH, step):
        crashed, state = await stopped_at(world, stage, name, nth)
        assert state == expected, f"{stage} {name} no. {nth}"
        if not crashed:
            print(f"{stage} {name}: {nth - 1} commits")
            assert nth > 1, "no chain comes to this commit at all"
            return


async def stopped_at(world: World, stage: str, name: str, nth: int) -> tuple[bool, dict[str, Any]]:
    """A chain in whose course the process dies at the nth commit of a name; whether it did, and how it ended."""
    prompt, left = f"cat-{nth}-", nth

    def crash(at_stage: str, at_name: str) -> None:
        nonlocal left
        with arming:
            left -= armed and (at_stage, at_name) == (stage, name)
            if left <= 0:  # nor is anything written after that
                world.die_soon()
                raise Died

    armed, arming = False, threading.Lock()
    await world.start(crash)
    await world.imagine_unheard(prompt)
    armed = True
    world.wake()
    ending = asyncio.create_task(world.end_state(prompt))
    dying = asyncio.create_task(world.dead.wait())
    await asyncio.wait([ending, dying], return_when=asyncio.FIRST_COMPLETED)
    with arming:
        armed = False  # a process that dies in its ordinary stop would never come to the stop's end
    await asyncio.sleep(0)  # for a death of this very moment to be heard of
    if not world.dead.is_set():
        dying.cancel()
        state = await ending
        await world.stop()
        return False, state
    await asyncio.gather(ending, return_exceptions=True)
    await world.die()
    await world.start()
    others = asyncio.create_task(world.go_on_submitting())
    try:
        state = await world.end_state(prompt)
    finally:
        await cancelled(lambda: [others])
    await world.stop()
    return True, state
