"""Tasks that nothing is heard of are asked about: when, how often, and what becomes of the answer."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import pytest

from dispatcher.loops.poll import LONGEST_INTERVAL_S, due_at_ms
from hookchain import task_lost
from midjourney.dialects import Upstream
from storage.engine import Connection
from storage.reading import health
from storage.records import TaskRow
from storage.tasks import rows as tasks
from tests.support.staged import stage, wanted

UPSTREAM = Upstream(url="http://x", look_after_s=2, quiet_s=30)


def row(**fields: Any) -> TaskRow:
    return msgspec.structs.replace(tasks.blank("main", "1", 100_000), **fields)


@pytest.mark.parametrize(
    ("fields", "never_calls", "due_s"),
    [
        ({}, False, 2),  # never heard of: shortly after its submit
        ({"looked_at_ms": 102_000}, False, 32),  # asked once
        ({"status": "IN_PROGRESS", "updated_at_ms": 110_000}, False, 40),  # silent since its last word
        ({"status": "SUBMITTED", "action": "UPSCALE"}, False, 10),  # an upscale takes seconds
        ({"status": "IN_PROGRESS"}, True, 15),  # it never calls
        ({"status": "IN_PROGRESS", "looked_at_ms": 300_000}, True, 215),  # and goes on being asked
        ({"status": "IN_PROGRESS", "looked_at_ms": 300_000}, False, 300),  # half its age
        ({"status": "IN_PROGRESS", "looked_at_ms": 5_100_000}, False, 5_000 + LONGEST_INTERVAL_S),
    ],
)
def test_when_a_task_is_asked_about(fields: dict[str, Any], never_calls: bool, due_s: float) -> None:
    """In seconds after its submit: soon, when it is silent, then ever less often."""
    assert due_at_ms(row(**fields), UPSTREAM, 0, never_calls=never_calls) == 100_000 + 1000 * due_s


def test_what_was_heard_of_before_our_start_is_asked_about_at_once() -> None:
    """Callbacks that came while nobody listened are lost."""
    known = row(status="IN_PROGRESS", updated_at_ms=150_000)
    assert due_at_ms(known, UPSTREAM, 160_000) == 160_000


async def test_a_lost_success_is_found(bench: Any) -> None:
    """It becomes an event of source `reconcile`, with the signal that a callback would have given, once."""
    bench.rules('[[rules]]\nname = "again"\non = "task.succeeded"\nif = "chain.depth == 0"\npress = "U1"\n')
    bench.options |= {"quiet_s": 0.1}
    await bench.start()
    await bench.callback(status="IN_PROGRESS", progress="50%", buttons=[])
    grid = {"customId": "MJ::JOB::upsample::1::u", "label": "U1"}
    bench.upstream.tasks["grid"] = {"id": "grid", "status": "SUCCESS", "action": "IMAGINE", "buttons": [grid]}
    await bench.until_states("accepted")
    events = await bench.events(task_id="grid")
    assert [(event.source, event.signal) for event in events][:2] == [
        ("callback", "task.started"),
        ("reconcile", "task.succeeded"),
    ]
    await bench.callback()  # the callback itself, minutes late
    await bench.until_quiet()
    assert len(await bench.submissions()) == 1


async def test_what_is_no_news_is_not_kept(bench: Any) -> None:
    """An upstream is asked again and again about a task that stays as it is: no event comes of it."""
    bench.options |= {"quiet_s": 0.05}
    bench.upstream.tasks["grid"] = {"id": "grid", "status": "IN_PROGRESS", "progress": "50%"}
    await bench.start()
    await bench.callback(status="IN_PROGRESS", progress="50%", buttons=[])

    async def asked() -> bool:
        found = await bench.database.read(lambda connection: tasks.find(connection, "main", "grid"))
        return bool(found.looked_at_ms and found.looked_at_ms > found.updated_at_ms)

    await bench.until(asked)
    assert [event.source for event in await bench.events(task_id="grid")] == ["callback"]


async def test_a_task_that_its_upstream_forgot_is_lost(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart that forgot everything: after some questions it ends as lost, with its own signal, once."""
    monkeypatch.setattr("dispatcher.loops.poll.LOST_AFTER_MS", 0)
    heard: list[str] = []

    @task_lost.connect
    def listen(action: str, *, task: Any, **_: Any) -> None:
        heard.append(task.id)

    bench.options |= {"quiet_s": 0.02}
    monkeypatch.setattr("dispatcher.loops.loop.POLL_S", 0.1)
    await bench.start()
    await bench.callback(status="IN_PROGRESS", buttons=[])

    async def confirmed() -> bool:
        row = await bench.database.read(lambda connection: tasks.find(connection, "main", "grid"))
        return bool(row.confirmed)

    await bench.until(confirmed)
    bench.upstream.forget("grid")

    async def told() -> bool:
        return bool(heard)

    await bench.until(told)
    await bench.until_quiet()
    assert heard == ["grid"]
    found = await bench.database.read(lambda connection: tasks.find(connection, "main", "grid"))
    assert (found.status, found.misses) == ("LOST", 4)


async def test_an_upstream_that_never_calls_is_recognised(bench: Any) -> None:
    """Three tasks of ours ended without a single callback."""
    for number in (1, 2, 3):
        assert not await bench.database.read(lambda connection: health.never_calls(connection, "main"))
        await bench.database.write("test", partial(finished_task, number=number))
    assert await bench.database.read(lambda connection: health.never_calls(connection, "main"))
    await bench.callback("1", forged=True)
    assert not await bench.database.read(lambda connection: health.never_calls(connection, "main"))


def finished_task(connection: Connection, number: int) -> None:
    submission_id = stage(connection, wanted(str(number))).submission_id
    tasks.put(
        connection, row(id=str(number), submission_id=submission_id, finished_at_ms=1, status="SUCCESS")
    )
