"""Uncertain submissions are settled by what the upstream shows, by what is known already, and by what never left."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from midjourney.requests import Action, Imagine
from storage.clock import now_ms
from storage.engine import Connection
from storage.submissions import submission_queue, uncertain
from storage.submissions.departures import Departures
from storage.upstreams import list_facts
from storage.workers import leases
from tests.dispatcher.conftest import U

ZOOM = "MJ::CustomZoom::0ddb91a0-af46-4ae9-8e8e-c271074eb6e6"
PRESS_ZOOM = (
    '[[rules]]\nname = "zoom"\non = "task.succeeded"\nif = "chain.depth == 0"\npress = "custom_zoom"\n'
)
ANSWER = """
[[rules]]
name = "answer"
on = "submission.needs_modal"
modal = { prompt = "{{ modal.prompt }} --zoom 1.8" }
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backoff in hundredths of a second, leases in tenths."""
    monkeypatch.setattr("dispatcher.policy.outcomes.delay_s", lambda attempt, **_: 0.01 * 2**attempt)
    monkeypatch.setattr("dispatcher.policy.queue_full.delay_s", lambda attempt, **_: 0.01 * 2**attempt)
    for name, short in (("BEAT_S", 0.05), ("TTL_MS", 1500), ("MARGIN_S", 0.1), ("DROPPED_MS", 200)):
        monkeypatch.setattr(f"dispatcher.loops.heartbeat.{name}", short)
    monkeypatch.setattr("dispatcher.policy.queue_full.HOLD_MS", 10)


async def single(bench: Any, task_id: str = "single") -> None:
    """A picture with a button that opens a window."""
    await bench.callback(
        task_id, action="UPSCALE", prompt="a cat", buttons=[{"customId": ZOOM, "label": "Custom Zoom"}]
    )


def windows_met_by_23(met: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Answers to presses of one button: a window, then so often a full queue, then another window."""
    yield 200, {"code": 21, "description": "窗口等待", "result": "w1"}
    for _ in range(met):
        yield 200, {"code": 23, "description": "队列已满", "result": None}
    yield 200, {"code": 21, "description": "窗口等待", "result": "w2"}


async def test_a_deleted_window_says_nothing_about_the_next_press(bench: Any) -> None:
    """23 deletes the window; the press that is repeated meets 23 twice more, and opens another at last, which is answered."""
    bench.rules(PRESS_ZOOM + ANSWER)
    presses = windows_met_by_23(2)

    def answer(path: str, body: dict[str, Any]) -> Any:
        if path.endswith("action"):
            return next(presses)
        if body["taskId"] == "w1":
            return 200, {"code": 23, "description": "队列已满", "result": None}
        return 200, {"code": 1, "description": "ok", "result": "w2"}

    bench.upstream.answer = answer
    await bench.start()
    await single(bench)
    await bench.until_states("needs_modal", "rejected", "accepted")
    asked = [(path.rsplit("/")[-1], body.get("taskId")) for path, body in bench.upstream.received]
    press = ("action", "single")
    assert asked == [press, ("modal", "w1"), press, press, press, ("modal", "w2")]


async def test_a_window_that_proved_its_press_and_was_deleted_is_opened_again(bench: Any) -> None:
    """The press's answer is lost, and its window found in the list: accepted. When 23 deletes the window, it is pressed again."""
    bench.rules(PRESS_ZOOM + ANSWER)
    window: dict[str, Any] = {"id": "w1", "status": "MODAL", "progress": "0%", "action": "ZOOM"}
    pressed: list[str] = []

    def answer(path: str, body: dict[str, Any]) -> Any:
        if path.endswith("action"):
            pressed.append(body["state"])
            if len(pressed) == 1:
                window["state"] = body["state"]
                bench.upstream.listed = [window]
                bench.upstream.tasks["w1"] = window
                return None
            return 200, {"code": 21, "description": "窗口等待", "result": "w2"}
        if body["taskId"] == "w1":
            bench.upstream.listed = []
            bench.upstream.forget("w1")
            return 200, {"code": 23, "description": "队列已满", "result": None}
        return 200, {"code": 1, "description": "ok", "result": "w2"}

    bench.upstream.answer = answer
    await bench.start()
    await single(bench)
    await bench.until_states("needs_modal", "rejected", "accepted")
    assert len(pressed) == 2
    assert len(set(pressed)) == 1


async def test_a_claim_that_is_ours_and_was_never_sent_is_sent(bench: Any) -> None:
    """Its commit was ambiguous: the database says that we send it, and we know that we do not."""
    await bench.start()
    await bench.callback()
    await bench.until_quiet()
    me = bench._worker._membership.name
    submitter = bench._worker._submitter.loop
    submitter.may_turn = lambda: False
    made = await bench.ask(Action(task_id="grid", custom_id=U[0]))

    def claim(connection: Connection) -> int:
        return len(submission_queue.begin_attempts(connection, "main", 9, now_ms(), worker=me))

    assert await bench.database.write("begin_attempt", claim) == 1
    submitter.may_turn = lambda: True
    accepted = await bench.until_state(made, "accepted")
    assert accepted.attempts == 2
    assert len(bench.upstream.received) == 1


@pytest.mark.parametrize("status", [404, 500])
async def test_where_there_is_no_list_a_window_proves_its_answer(
    bench: Any, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Three answers to windows are lost; callbacks tell of SUCCESS, which the upstream confirms. Nobody has to settle them."""
    monkeypatch.setattr("dispatcher.loops.restores.HOLD_S", 0)  # nobody waits for its list
    bench.rules(PRESS_ZOOM + ANSWER)
    bench.upstream.list_status = status
    windows = iter(["w1", "w2", "w3"])

    def answer(path: str, body: dict[str, Any]) -> Any:
        if path.endswith("action"):
            return 200, {"code": 21, "description": "窗口等待", "result": next(windows)}
        return None

    bench.upstream.answer = answer
    await bench.start()
    for number in range(3):
        await single(bench, f"single-{number}")
    await bench.until_states(*["needs_modal"] * 3, *["uncertain"] * 3)
    for window in ("w1", "w2", "w3"):
        await bench.callback(window, action="ZOOM", buttons=[])
    await bench.until_states(*["needs_modal"] * 3, *["accepted"] * 3)


async def test_a_lost_answer_costs_a_second(bench: Any) -> None:
    """Its mark is in the list: it is found long before anything could be disproved."""
    bench.upstream.keeps_list = True
    bench.options |= {"settle_after_s": 3600.0}

    def answer(_path: str, body: dict[str, Any]) -> None:
        bench.upstream.list_task("found", body)

    bench.upstream.answer = answer
    await bench.start()
    made = await bench.ask(Imagine(prompt="a cat"))
    accepted = await bench.until_state(made, "accepted")
    assert accepted.task_ids == ("found",)
    assert bench.upstream.lists <= 3


async def test_what_is_learned_of_a_list_is_kept(bench: Any) -> None:
    bench.upstream.keeps_list = True
    await bench.start()
    for number in range(3):
        await bench.until_state(await bench.ask(Imagine(prompt=f"cat {number}")), "accepted")
    bench.upstream.answer = lambda path, body: None
    await bench.until_state(await bench.ask(Imagine(prompt="lost")), "uncertain")

    async def learned() -> list_facts.ListFacts | None:
        found = await bench.database.read(lambda connection: list_facts.find(connection, "main"))
        return found if found.marks else None

    found: list_facts.ListFacts = await bench.until(learned)
    assert found.marks == {"imagine": True}
    assert found.most_entries == 3
    assert found.lag_ms is not None


async def test_large_requests_are_not_loaded(bench: Any) -> None:
    """Only a press is read whole: it says what was pressed."""
    bench.upstream.answer = lambda path, body: None
    await bench.start()
    await bench.callback()
    image = await bench.ask(Imagine(prompt=1_000 * "cat "))
    press = await bench.ask(Action(task_id="grid", custom_id=U[0]))
    await bench.until_state(image, "uncertain")
    await bench.until_state(press, "uncertain")
    found = await bench.database.read(lambda connection: uncertain.read(connection, [image, press]))
    held = {one.submission.id: len(one.submission.request) for one in found}
    assert held[image] == 0
    assert 0 < held[press] < 200


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_never_left_a_killed_process_is_sent_at_once(bench: Any, tmp_path: Any) -> None:
    """Two were claimed; the request of one was about to leave, the other had not got so far."""
    await bench.callback()
    bench.options |= {"settle_after_s": 3600.0}
    bench.upstream.answer = lambda path, body: (200, {"code": 1, "result": "made"})
    gone = Departures(bench.database.path, "gone", now_ms)
    gone.begin()
    first = await bench.ask(Action(task_id="grid", custom_id=U[0]))
    second = await bench.ask(Action(task_id="grid", custom_id=U[1]))

    def take(connection: Connection) -> list[Any]:
        leases.beat(connection, "gone", ttl_ms=1)
        return submission_queue.begin_attempts(connection, "main", 9, now_ms(), worker="gone")

    begun = {one.id: one for one in await bench.database.write("begin_attempt", take)}
    assert gone.leaves(begun[first])
    await bench.start()
    await bench.until_state(second, "accepted")
    await bench.until_state(first, "uncertain")
    assert len(bench.upstream.received) == 1


@pytest.mark.parametrize("head", ["another-boot gone 0", "", "gone"], ids=["restarted", "empty", "torn"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_notes_of_another_boot_prove_nothing(bench: Any, head: str) -> None:
    """The machine was started anew since: what was noted last may be lost."""
    path = bench.database.path.with_name(f"{bench.database.path.name}-departures")
    path.write_text(f"{head}\n")
    await asyncio.sleep(0)
    assert Departures(bench.database.path, "new", now_ms).before() is None
