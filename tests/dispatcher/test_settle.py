"""Evidence about submissions that nobody is certain of: what is taken for it, and when."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from dispatcher.evidence import Listed, disproves
from dispatcher.settle import WINDOW_S, Settler
from midjourney.decode import decode_task
from midjourney.dialects import DIALECTS, Upstream
from midjourney.requests import Action, encode_request
from midjourney.types import Task
from storage import tasks
from storage.records import Submission, TaskRow
from storage.settlements import INTERRUPTED

PRESS_ONE = """
[[rules]]
name = "press"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U1"
"""
SENT_MS = 1_800_000_000_000
UPSCALE, ZOOM = "MJ::JOB::upsample::1::x", "MJ::CustomZoom::x"


def press(custom_id: str = UPSCALE, **fields: Any) -> Submission:
    """One that was sent, and is uncertain."""
    made = Submission(
        id="0123456789abcdef01234567",
        idempotency_key="k",
        chain_id="c",
        upstream="main",
        kind="action",
        label="U1",
        request=encode_request(Action(task_id="grid", custom_id=custom_id)),
        parent_id="grid",
        depth=1,
        asked_by="rule:r",
        lane="",
        priority=0,
        queue_at_ms=0,
        state="uncertain",
        outcome="uncertain",
        reason="",
        task_ids=(),
        attempts=1,
        forgiven=0,
        repeats=0,
        run_at_ms=0,
        started_at_ms=SENT_MS,
        created_at_ms=SENT_MS,
        updated_at_ms=SENT_MS,
    )
    return msgspec.structs.replace(made, **fields)


def task(task_id: str, **fields: Any) -> Task:
    return decode_task(
        json.dumps({"id": task_id, "status": "SUCCESS", "action": "UPSCALE"} | fields).encode()
    )


def row(task_id: str, created_at_ms: int = SENT_MS - 9, **fields: Any) -> TaskRow:
    return msgspec.structs.replace(tasks.blank("main", task_id, created_at_ms), **fields)


GRID, CHILD = task("grid"), task("child")
MARKED = task("other", state="89abcdef0123456701234567")
OURS = row("other", submission_id="89abcdef0123456701234567")


@pytest.mark.parametrize(
    ("found", "rows", "says"),
    [
        ([GRID], [], True),
        ([CHILD], [], False),
        ([GRID, CHILD], [], False),
        ([GRID, CHILD], [row("child", SENT_MS + 1)], False),
        ([GRID, CHILD], [row("child")], True),
        ([GRID, task("child", submitTime=SENT_MS - 3_600_000)], [], True),
        ([GRID, task("child", submitTime=SENT_MS - 1_000)], [], False),
        ([GRID, CHILD, MARKED], [OURS], True),
        ([GRID, task("other")], [OURS], False),
        ([GRID, task("other"), MARKED], [OURS], False),
    ],
    ids=[
        "nothing but what was pressed",
        "not even that",
        "a stranger beside it",
        "a stranger that was heard of later",
        "a stranger that was there before",
        "a stranger of an hour ago",
        "a stranger of a second ago, by the upstream's clock",
        "a stranger, and one of ours with its mark",
        "one of ours without its mark",
        "one of ours without it and again with it",
    ],
)
def test_a_list_disproves_where_no_task_in_it_can_be_the_one(
    found: list[Task], rows: list[TaskRow], says: bool
) -> None:
    """Relays replace both marks: a task without one may be ours then, and is not paid for again."""
    listed = Listed(tasks=found, rows={one.id: one for one in [row("grid"), *rows]})
    assert disproves(listed, press()) is says
    assert not disproves(msgspec.structs.replace(listed, is_list=False), press())


def test_an_imagine_is_disproven_by_a_list_that_reaches_further_back() -> None:
    """It has no task that was pressed: an older one of those we know must be there."""
    asked = press(kind="imagine", parent_id="")
    older, younger = row("grid"), row("grid", SENT_MS + 1)
    assert disproves(Listed(tasks=[GRID], rows={"grid": older}), asked)
    assert not disproves(Listed(tasks=[GRID], rows={"grid": younger}), asked)
    assert not disproves(Listed(tasks=[], rows={}), asked)


class OfUpstream:
    """All that a settler reads of a client before it asks."""

    upstream = Upstream(name="main", url="http://127.0.0.1:9", timeout_s=60, settle_after_s=10)
    dialect = DIALECTS["mj-plus"]


@pytest.mark.parametrize(
    ("submission", "waits_s"),
    [
        (press(), 10),
        (press(updated_at_ms=SENT_MS + 60_000), 60 + 60 + 10),
        (press(updated_at_ms=SENT_MS + 5_000), 5 + 5 + 10),
        (press(ZOOM), 10 + WINDOW_S),
        (press(updated_at_ms=SENT_MS + 3_600_000, outcome=INTERRUPTED), 3600 + 10),
    ],
    ids=["hung up at once", "our time-out", "a slow no answer", "may open a window", "our process stopped"],
)
def test_the_list_is_trusted_when_the_request_is_long_over(submission: Submission, waits_s: float) -> None:
    """By the end of the request, not its beginning; a server that left us waiting has as long again."""
    settler = Settler(Any, {"main": OfUpstream()}, clock=lambda: 0)  # type: ignore[arg-type, dict-item]  # it asks nobody
    due_ms = SENT_MS + int(1000 * waits_s)
    assert not settler._is_due(submission, due_ms - 1)
    assert settler._is_due(submission, due_ms)


async def test_a_press_whose_task_comes_back_without_marks_is_not_paid_for_again(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The picture was made elsewhere, the answer to our press is lost, and the relay shows its task without marks."""
    monkeypatch.setattr("dispatcher.settle.LONGEST_PAUSE_MS", 100)
    bench.rules(PRESS_ONE)
    bench.options["settle_after_s"] = 0.0
    grid = {"id": "grid", "status": "SUCCESS", "action": "IMAGINE"}
    child = {"id": "child", "status": "SUCCESS", "action": "UPSCALE", "description": "/up grid U1"}
    bench.upstream.listed = [grid, child]
    bench.upstream.answer = lambda path, body: None
    await bench.start()
    await bench.callback()

    async def looked_twice() -> bool:
        return bool(bench.upstream.lists >= 2)

    await bench.until(looked_twice)
    await asyncio.sleep(0)
    assert [one.state for one in await bench.submissions()] == ["uncertain"]
    assert len(bench.upstream.pressed()) == 1
