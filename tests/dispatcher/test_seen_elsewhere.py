"""Failures that other systems had, each tried here with real parts; those over HTTP are in tests/promises."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hookchain import task_succeeded
from storage.clock import now_ms
from storage.deliveries import delivery_queue
from storage.engine import Database
from storage.submissions import releases, submission_queue
from tests.dispatcher.conftest import four
from tests.support.staged import stage, wanted

PRESS = '[[rules]]\nname = "press"\non = "task.succeeded"\nif = "task.is_grid"\npress = "U*"\n'


def hears_all(_event: Any) -> list[str]:
    return ["one", "other"]


async def test_two_workers_on_one_file_run_no_delivery_twice(bench: Any) -> None:
    """DBOS ran one workflow twice on SQLite. Two databases on one file claim at once: each delivery goes to one."""
    for number in range(40):
        await bench.callback(f"grid-{number}")
    second = Database(str(bench.database.url))
    await second.open()
    taken: Counter[int] = Counter()

    async def work(database: Database) -> None:
        idle = 0
        while idle < 3:
            _, claimed = await database.write_together(
                ("fan_out", lambda c: delivery_queue.fan_out(c, hears_all, 7, now_ms())),
                ("claim_delivery", lambda c: delivery_queue.claim(c, 3, now_ms(), room=lambda _name: 9)),
            )
            taken.update(one.delivery.id for one in claimed)
            idle = 0 if claimed else idle + 1

    await asyncio.gather(work(bench.database), work(second))
    await second.close()
    assert len(taken) == 80
    assert set(taken.values()) == {1}


async def test_two_workers_on_one_file_send_nothing_twice(bench: Any) -> None:
    """The same for what costs money."""
    for number in range(60):
        await bench.database.write("stage", lambda c, n=number: stage(c, wanted(f"key {n}")))
    second = Database(str(bench.database.url))
    await second.open()
    sent: Counter[str] = Counter()

    async def work(database: Database) -> None:
        while begun := await database.write(
            "begin_attempt", lambda c: submission_queue.begin_attempts(c, "main", 2, now_ms())
        ):
            sent.update(one.id for one in begun)

    await asyncio.gather(work(bench.database), work(second))
    assert len(sent) == 60
    assert set(sent.values()) == {1}
    await second.close()


async def test_two_creates_of_one_key_by_two_processes_give_one_row(bench: Any) -> None:
    """Convoy looked first and inserted then. Two databases, eight writes each, one key: one row, one chain of one."""
    second = Database(str(bench.database.url))
    await second.open()
    made = await asyncio.gather(
        *(
            database.write("stage", lambda c: stage(c, wanted("one key")))
            for database in [bench.database, second] * 8
        )
    )
    await second.close()
    assert sum(one.created for one in made) == 1
    assert len({one.submission_id for one in made}) == 1
    (only,) = await bench.submissions()
    assert only.repeats == 15


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_lock_before_the_retry_loop_is_no_failure_for_good(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver ran, a press is answered, and for a while the file is locked: both are kept when it is free again."""
    monkeypatch.setattr("storage.driver.sqlite.BUSY_TIMEOUT_MS", 100)
    monkeypatch.setattr("dispatcher.loops.loop.FAILED_TURN_PAUSE_S", 0.05)
    other = sqlite3.connect(tmp_path / "hookchain.db", isolation_level=None, check_same_thread=False)
    runs: list[str] = []

    @task_succeeded.connect
    async def lock(action: str, *, task: Any, **_: Any) -> None:
        runs.append(task.id)
        other.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(0.5, other.execute, "ROLLBACK")

    bench.rules(PRESS)
    await bench.start()
    await bench.callback()
    await bench.until_states(*["accepted"] * 4)
    await bench.until_quiet()
    other.close()
    assert runs == ["grid"]
    assert {one.state for one in await bench.deliveries()} == {"done"}
    assert sorted(one.attempts for one in await bench.deliveries()) == [1, 1]
    assert len(bench.upstream.pressed()) == 4


async def test_a_runaway_rule_ends_within_tens_of_submissions(bench: Any) -> None:
    """By the budget that everybody has: each success presses all four buttons, and each child is a grid again."""
    bench.rules('[[rules]]\nname = "mad"\non = "task.succeeded"\npress = "U*"\n')
    count = 0

    def answer(_path: str, body: dict[str, Any]) -> tuple[int, Any]:
        nonlocal count
        count += 1
        task_id = f"grid-{count}"
        running.add(
            asyncio.get_running_loop().create_task(
                bench.callback(task_id, body_id(body), buttons=four(str(uuid.uuid4())))
            )
        )
        return 200, {"code": 1, "description": "ok", "result": task_id}

    def body_id(body: dict[str, Any]) -> str:
        return str(body["notifyHook"]).rsplit("/", 1)[-1]

    running: set[asyncio.Task[None]] = set()
    bench.upstream.answer = answer
    await bench.start()
    await bench.callback()

    async def ended() -> bool:
        states = [one.state for one in await bench.submissions()]
        return "refused" in states and set(states) <= {"accepted", "refused"}

    await bench.until(ended)
    await bench.until_quiet()
    made = await bench.submissions()
    assert len([one for one in made if one.state == "accepted"]) == 32
    refused = [one for one in made if one.state == "refused"]
    assert {one.reason for one in refused} == {"rule:mad has made 32 submissions, its limit is 32"}
    before = len(bench.upstream.received)
    assert await bench.database.write(
        "release", lambda c: releases.release(c, refused[0].id, now_ms(), by="person:test")
    )
    bench.database.wakeups.wake("submissions")

    async def released() -> bool:
        return len(bench.upstream.received) == before + 1

    await bench.until(released)
    await asyncio.gather(*running)
