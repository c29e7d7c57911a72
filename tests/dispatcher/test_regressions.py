"""What went wrong once: each found by attacking a release that passed all other tests."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import msgspec
import pytest

from dispatcher.by_hand import commands
from hookchain import task_succeeded
from midjourney.dialects import DIALECTS
from midjourney.requests import Action, Imagine
from storage.clock import now_ms
from storage.driver.statements import Command
from storage.submissions import sql
from storage.tasks import rows as tasks
from storage.upstreams import restores
from tests.dispatcher.conftest import U
from tests.support.staged import stage, wanted

PRESS_ONE = """
[[rules]]
name = "press"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U1"
"""
GRID: dict[str, Any] = {"id": "grid", "status": "SUCCESS", "action": "IMAGINE"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backoff in hundredths of a second, and polling in tenths."""
    monkeypatch.setattr("dispatcher.policy.outcomes.delay_s", lambda attempt, **_: 0.01 * 2**attempt)
    monkeypatch.setattr("dispatcher.policy.queue_full.delay_s", lambda attempt, **_: 0.01 * 2**attempt)
    monkeypatch.setattr("dispatcher.loops.loop.POLL_S", 0.1)


async def test_a_list_that_echoes_no_marks_proves_nothing(bench: Any) -> None:
    """A relay replaces state and wraps the hook: it shows the parent and never our mark. Nothing is sent again."""
    bench.rules(PRESS_ONE)
    bench.options["settle_after_s"] = 0.0
    bench.upstream.answer = lambda path, body: None
    await bench.start()
    ours = msgspec.structs.replace(tasks.blank("main", "ours", 1), submission_id="0123456789abcdef01234567")
    await bench.database.write("test", lambda connection: tasks.put(connection, ours))
    bench.upstream.listed = [GRID, {"id": "ours", "status": "SUCCESS", "action": "IMAGINE", "state": "16158"}]
    await bench.callback()
    await bench.until_states("uncertain")

    async def listed() -> bool:
        return bool(bench.upstream.lists)

    await bench.until(listed)
    await asyncio.sleep(0)
    assert len(bench.upstream.received) == 1
    (made,) = await bench.submissions()
    assert made.state == "uncertain"


async def test_a_second_loss_is_left_to_a_person(bench: Any) -> None:
    """Every answer to one press is lost: disproven once, sent once more, and no third time."""
    bench.rules(PRESS_ONE)
    bench.options |= {"settle_after_s": 0.0, "timeout_s": 0.5}
    bench.upstream.keeps_list = True
    bench.upstream.listed = [GRID]

    def answer(_path: str, body: dict[str, Any]) -> Any:
        number = len(bench.upstream.received)
        return None if "upsample::1" in body["customId"] else (200, {"code": 1, "result": f"t{number}"})

    bench.upstream.answer = answer
    await bench.start()
    await bench.callback()
    (lost,) = await bench.until_states("uncertain")
    await asyncio.sleep(0.5)  # its request could have ended
    await bench.ask(Action(task_id="grid", custom_id=U[1]))

    async def twice() -> bool:
        found = [one for one in await bench.submissions() if one.id == lost.id]
        return [(one.state, one.attempts) for one in found] == [("uncertain", 2)]

    await bench.until(twice)
    await asyncio.sleep(0.5)
    await bench.ask(Action(task_id="grid", custom_id=U[2]))
    await bench.until_quiet()
    lists = bench.upstream.lists

    async def looked() -> bool:
        return bool(bench.upstream.lists > lists + 1)

    await bench.until(looked)
    assert len(bench.upstream.received) == 4


def nested(levels: int) -> dict[str, Any]:
    """A property that no reader of JSON may follow to its end."""
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


async def test_an_entry_of_the_list_that_is_nested_too_deep_hides_no_proof(bench: Any) -> None:
    """The others are read: the press whose answer was lost is found by its mark."""
    bench.rules(PRESS_ONE)
    bench.upstream.keeps_list = True
    bench.upstream.listed = [GRID, {"id": "x", "status": "SUCCESS", "properties": nested(150)}]

    def answer(path: str, body: dict[str, Any]) -> Any:
        bench.upstream.list_task("found", body)
        return None

    bench.upstream.answer = answer
    await bench.start()
    await bench.callback()
    (made,) = await bench.until_states("accepted")
    assert made.task_ids == ("found",)
    assert len(bench.upstream.received) == 1


async def test_an_entry_that_cannot_be_read_disproves_nothing(bench: Any) -> None:
    """It may be the press whose answer was lost. Once the list can be read as a whole, the press is sent again."""
    bench.rules(PRESS_ONE)
    bench.options |= {"settle_after_s": 0.0, "timeout_s": 0.5}
    bench.upstream.keeps_list = True
    hidden = {"id": "x", "status": "SUCCESS", "properties": nested(150)}
    bench.upstream.listed = [GRID, hidden]

    def answer(_path: str, body: dict[str, Any]) -> Any:
        number = len(bench.upstream.received)
        return None if number == 1 else (200, {"code": 1, "result": f"t{number}"})

    bench.upstream.answer = answer
    await bench.start()
    await bench.callback()
    (lost,) = await bench.until_states("uncertain")
    await asyncio.sleep(0.5)  # its request could have ended
    await bench.ask(Action(task_id="grid", custom_id=U[1]))
    await bench.until_quiet()
    lists = bench.upstream.lists

    async def looked() -> bool:
        return bool(bench.upstream.lists > lists + 1)

    await bench.until(looked)
    assert len(bench.upstream.received) == 2
    bench.upstream.listed.remove(hidden)
    await bench.until_state(lost.id, "accepted")
    assert len(bench.upstream.received) == 3


async def test_an_entry_that_cannot_be_read_keeps_a_restored_upstream_paused(bench: Any) -> None:
    """It may be a submission that the copy lacks; once it can be read, the upstream is resumed."""
    bench.options |= {"settle_after_s": 0.0, "timeout_s": 0.2}
    bench.upstream.keeps_list = True
    await bench.start()
    await bench.until_state(await bench.ask(Imagine(prompt="a cat")), "accepted")
    await bench.stop()
    hidden = {"id": "x", "status": "SUCCESS", "properties": nested(150)}
    bench.upstream.listed.append(hidden)
    await bench.database.write(
        "test", lambda connection: restores.start_check(connection, "main", None, now_ms())
    )
    await bench.start()
    lists = bench.upstream.lists

    async def looked() -> bool:
        return bool(bench.upstream.lists > lists + 1)

    async def check() -> Any:
        return await bench.database.read(lambda connection: restores.find(connection, "main"))

    await bench.until(looked)
    assert await check() is not None
    bench.upstream.listed.remove(hidden)

    async def resumed() -> bool:
        return await check() is None

    await bench.until(resumed)


async def test_a_press_that_only_opens_a_window_is_sent_again(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is lost, no window ever calls, and the relay has no list: an unanswered window costs nothing."""
    monkeypatch.setattr("dispatcher.policy.submission_evidence.MODAL_MS", 0)
    bench.options |= {"settle_after_s": 0.0, "timeout_s": 0.3, "dialect": "147ai"}
    bench.rules('[[rules]]\nname = "zoom"\non = "task.succeeded"\npress = "custom_zoom"\n')
    lost = iter([(500, b"<html>"), (500, b"<html>")])
    window = {"code": 21, "description": "Waiting for window confirm", "result": "w"}
    bench.upstream.answer = lambda path, body: next(lost, (200, window))
    await bench.start()
    await bench.callback(
        action="UPSCALE", buttons=[{"customId": "MJ::CustomZoom::u", "label": "Custom Zoom"}]
    )
    (made,) = await bench.until_states("needs_modal")
    assert made.attempts == 3


async def test_proof_that_comes_while_it_waits_to_be_sent_again_counts(bench: Any) -> None:
    """A callback on its own path, and the upstream shows its mark: the upstream has it, whatever we believed."""
    bench.rules(PRESS_ONE)
    bench.upstream.answer = lambda path, body: (429, {"code": 30, "description": "busy"})
    await bench.start()
    await bench.callback()

    async def waits() -> Any:
        return [one for one in await bench.submissions() if one.state == "waiting" and one.attempts]

    (made,) = await bench.until(waits)
    await bench.callback("child", made.id, action="UPSCALE", buttons=[], state=made.id)
    await bench.until_states("accepted")
    sent = len(bench.upstream.received)
    await bench.until_quiet()
    assert len(bench.upstream.received) == sent


@pytest.mark.parametrize("answer", [b'{"code":1,"result":' + b"[" * 900 + b"]" * 900 + b"}", b"\xff" * 100])
async def test_no_answer_whatever_leaves_a_submission_sending(bench: Any, answer: bytes) -> None:
    """It ends as uncertain: nobody can tell whether it was accepted."""
    bench.rules(PRESS_ONE)
    bench.upstream.answer = lambda path, body: (200, answer)
    await bench.start()
    await bench.callback()
    await bench.until_states("uncertain")


async def test_an_existing_task_is_told_once_it_is_known(bench: Any) -> None:
    """The answer said SUCCESS already: its receivers still hear of it, with its buttons."""
    heard: list[str] = []

    @task_succeeded.connect
    def press(action: str, *, task: Any, chain: Any, **_: Any) -> None:
        heard.append(task.id)
        if chain.depth == 0:
            chain.press("U1")

    bench.options["look_after_s"] = 0.0
    shown = {"status": "SUCCESS", "imageUrl": "https://x/y.png"}
    bench.upstream.answer = lambda path, body: (
        200,
        {"code": 21, "description": "任务已存在", "result": "existing", "properties": shown},
    )
    bench.upstream.tasks["existing"] = {"id": "existing", "status": "SUCCESS", "action": "UPSCALE"}
    await bench.start()
    await bench.callback()

    async def both() -> bool:
        return heard == ["grid", "existing"]

    await bench.until(both)


async def test_a_window_that_is_lost_again_and_again_is_given_up(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """21, 23, 21, 23 …: each time later, then a dead letter; not for ever, and not every two seconds."""
    monkeypatch.setattr("dispatcher.policy.queue_full.ATTEMPTS", 3)
    monkeypatch.setattr("dispatcher.policy.queue_full.HOLD_MS", 1)
    zoom = "MJ::CustomZoom::u"
    bench.rules(
        '[[rules]]\nname = "zoom"\non = "task.succeeded"\npress = "custom_zoom"\n'
        '[[rules]]\nname = "answer"\non = "submission.needs_modal"\nmodal = { prompt = "x" }\n'
    )

    def answer(path: str, _body: dict[str, Any]) -> tuple[int, Any]:
        if path.endswith("/modal"):
            return 200, {"code": 23, "description": "queue full"}
        return 200, {"code": 21, "description": "等待窗口确认", "result": f"w{len(bench.upstream.received)}"}

    bench.upstream.answer = answer
    await bench.start()
    await bench.callback(action="UPSCALE", buttons=[{"customId": zoom, "label": "Custom Zoom"}])

    async def dead() -> bool:
        return any(one.state == "dead" and one.kind == "action" for one in await bench.submissions())

    await bench.until(dead)
    assert len(bench.upstream.pressed()) == 3


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_next_of_a_lane_is_found_by_an_index(bench: Any) -> None:
    """A hundred thousand old submissions are not read for each press."""

    def plan(connection: Any) -> str:
        explain = Command(f"EXPLAIN QUERY PLAN {sql.DUE.text}")
        values = {"upstream": "main", "now_ms": 1, "held_since_ms": 0, "cleared_since_ms": 0, "most": 3}
        return "\n".join(str(row[-1]) for row in explain.execute(connection, values))

    told: str = await bench.database.read(plan)
    assert "SEARCH submissions USING INDEX submissions_waiting (upstream=?)" in told
    assert "SEARCH other USING INDEX submissions_in_lane" in told
    assert "SCAN other" not in told


async def test_a_key_of_the_callers_presses_no_button_twice(bench: Any) -> None:
    """The intent counts; the key is for what has no intent of its own."""
    await bench.callback()

    def ask(connection: Any, request: Any, key: str) -> Any:
        return commands.submit(
            connection,
            request,
            upstream="main",
            dialect=DIALECTS["mj-plus"],
            asked_by="test",
            now_ms=now_ms(),
            idempotency_key=key,
        )

    press = Action(task_id="grid", custom_id="MJ::JOB::upsample::1::0ddb91a0-af46-4ae9-8e8e-c271074eb6e6")
    made = [await bench.database.write("ask", partial(ask, request=press, key=key)) for key in ("a", "b")]
    assert [one.created for one in made] == [True, False]
    assert made[0].submission_id == made[1].submission_id
    cat, dog = Imagine(prompt="a cat"), Imagine(prompt="a dog")
    first = [await bench.database.write("ask", lambda c: ask(c, cat, "k")) for _ in range(2)]
    assert [one.created for one in first] == [True, False]
    with pytest.raises(commands.CommandError, match="a different request"):
        await bench.database.write("ask", lambda c: ask(c, dog, "k"))


async def test_two_creates_of_one_intent_at_the_same_instant_give_one_row(bench: Any) -> None:
    """Asked for by two workers: the unique index is the arbiter."""
    both = await asyncio.gather(
        *(bench.database.write("stage", lambda c: stage(c, wanted("k"), now_ms())) for _ in range(8))
    )
    assert sum(one.created for one in both) == 1
    assert len({one.submission_id for one in both}) == 1
