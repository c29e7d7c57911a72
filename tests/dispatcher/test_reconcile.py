"""Tasks that nothing is heard of are asked about: when, how often, and what becomes of the answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dispatcher.reconcile import LONGEST_INTERVAL_S, due_at_ms
from midjourney.dialects import DIALECTS, Upstream
from storage import tasks
from storage.records import TaskRow

UPSTREAM = Upstream(url="http://x", look_after_s=2, quiet_s=30)
PLUS, DEAF = DIALECTS["mj-plus"], DIALECTS["new-api"]


def row(**fields: Any) -> TaskRow:
    return msgspec.structs.replace(tasks.blank("main", "1", 100_000), **fields)


@pytest.mark.parametrize(
    ("fields", "dialect", "due_s"),
    [
        ({}, PLUS, 2),  # never heard of: shortly after its submit
        ({"looked_at_ms": 102_000}, PLUS, 32),  # asked once
        ({"status": "IN_PROGRESS", "updated_at_ms": 110_000}, PLUS, 40),  # silent since its last word
        ({"status": "SUBMITTED", "action": "UPSCALE"}, PLUS, 10),  # an upscale takes seconds
        ({"status": "IN_PROGRESS"}, DEAF, 10),  # it never calls
        ({"status": "IN_PROGRESS", "looked_at_ms": 300_000}, PLUS, 300),  # half its age
        ({"status": "IN_PROGRESS", "looked_at_ms": 5_100_000}, PLUS, 5_000 + LONGEST_INTERVAL_S),
    ],
)
def test_when_a_task_is_asked_about(fields: dict[str, Any], dialect: Any, due_s: float) -> None:
    """In seconds after its submit: soon, when it is silent, then ever less often."""
    assert due_at_ms(row(**fields), UPSTREAM, dialect, 0) == 100_000 + 1000 * due_s


def test_what_was_heard_of_before_our_start_is_asked_about_at_once() -> None:
    """Callbacks that came while nobody listened are lost."""
    known = row(status="IN_PROGRESS", updated_at_ms=150_000)
    assert due_at_ms(known, UPSTREAM, PLUS, 160_000) == 160_000


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
