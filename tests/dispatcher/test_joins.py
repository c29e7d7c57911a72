"""chain.rested and children.done: when they are given, how often, and what their receivers see."""

from __future__ import annotations

import asyncio
import tomllib
from typing import Any

import msgspec
import pytest

from dispatcher.by_hand import commands
from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.plugins.errors import GiveUp
from dispatcher.policy.chain_budget import Budget
from dispatcher.rules.load import load_rules
from dispatcher.trying.whatif import WhatIf
from hookchain import chain_rested, children_done, task_succeeded
from midjourney.dialects import DIALECTS
from midjourney.requests import Imagine, Modal
from storage.clock import now_ms
from storage.events.replay import replay
from storage.reading.recorded import recorded
from storage.records import ClaimedDelivery, Event, Submission
from tests.dispatcher.conftest import U, four

UPSCALE_ALL = """
[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid"
press = "U*"
"""
BOTH = ("chain.rested", "children.done")
FOUR = [(f"U{n}", "succeeded") for n in (1, 2, 3, 4)]


class Heard:
    """Receivers of both joins, and what they saw: the chain's tasks, and a task's children."""

    def __init__(self) -> None:
        self.rested: list[list[tuple[str, str]]] = []
        self.done: list[tuple[str, list[tuple[str, str]]]] = []
        self.tasks: list[Any] = []

        async def on_rest(_action: str, *, chain: Any, **_: Any) -> None:
            self.rested.append([(one.label or one.kind, one.state) for one in chain.tasks])
            self.tasks = list(chain.tasks)

        async def on_done(_action: str, *, task: Any, chain: Any, **_: Any) -> None:
            self.done.append((task.id, [(one.label, one.state) for one in chain.children]))

        chain_rested.connect(on_rest, weak=False)
        children_done.connect(on_done, weak=False)


@pytest.fixture
def heard(signals: Any, monkeypatch: pytest.MonkeyPatch) -> Heard:
    """Both joins have receivers, and the loops turn often."""
    monkeypatch.setattr("dispatcher.loops.loop.POLL_S", 0.1)
    return Heard()


async def joins(bench: Any) -> list[Event]:
    return [one for one in await bench.events() if one.signal in BOTH]


async def until_given(bench: Any, *signals: str) -> None:
    """Until exactly these joins have been given, in any order, and everybody has heard them."""

    async def given() -> bool:
        return len(await joins(bench)) >= len(signals)

    await bench.until(given)
    await settled(bench)
    assert sorted(str(one.signal) for one in await joins(bench)) == sorted(signals)


async def settled(bench: Any) -> None:
    """Until nothing waits or runs, and no mark is left to look at."""

    async def unmarked() -> bool:
        def ask(connection: Any) -> int:
            marked = "SELECT count(*) FROM {}joins WHERE look_at_ms IS NOT NULL"
            schema = "" if connection.dialect.name == "sqlite" else "hookchain_data."
            return int(connection.exec_driver_sql(marked.format(schema)).scalar_one())

        return bool(await bench.database.read(ask) == 0)

    await bench.until_quiet()
    await bench.until(unmarked)
    await bench.until_quiet()


async def end(bench: Any, submission: Submission, status: str = "SUCCESS", **fields: Any) -> None:
    """The callback that ends the task of a press."""
    ended = {"action": "UPSCALE", "buttons": [], "imageUrl": f"https://x/{submission.label}.png"}
    (task_id,) = submission.task_ids
    await bench.callback(task_id, submission.id, status=status, **(ended | fields))


async def press(bench: Any, label: str, task_id: str = "grid") -> None:
    """A person presses a button."""
    await bench.database.write(
        "command",
        lambda connection: commands.press(
            connection,
            task_id,
            label,
            upstream="main",
            dialect=DIALECTS["trueai"],
            asked_by="api",
            now_ms=now_ms(),
        ),
    )
    bench.database.wakeups.wake("events", "submissions")


async def four_presses(bench: Any) -> list[Submission]:
    """A grid of somebody else's, and the four presses of the rule."""
    bench.rules(UPSCALE_ALL)
    await bench.start()
    await bench.callback()
    presses: list[Submission] = await bench.until_states(*["accepted"] * 4)
    return presses


async def test_four_ends_give_one_signal_with_the_four_pictures(bench: Any, heard: Heard) -> None:
    """The children first, the chain then; not before the last of them has ended."""
    *three, last = await four_presses(bench)
    for one in three:
        await end(bench, one)
    await bench.until_quiet()
    assert await joins(bench) == []
    await end(bench, last)
    await until_given(bench, *BOTH)
    assert [one.signal for one in await joins(bench)] == ["children.done", "chain.rested"]
    assert heard.rested == [[("imagine", "succeeded"), *FOUR]]
    assert heard.done == [("grid", FOUR)]
    assert [(one.kind, one.image_url) for one in heard.tasks[1:]] == [
        ("upscale", f"https://x/U{n}.png") for n in (1, 2, 3, 4)
    ]


async def test_one_that_fails_is_an_end_with_its_reason(bench: Any, heard: Heard) -> None:
    """Banned words in one of four."""
    *three, last = await four_presses(bench)
    for one in three:
        await end(bench, one)
    await end(bench, last, "FAILURE", failReason="[Banned prompt detected] cat", imageUrl="")
    await until_given(bench, *BOTH)
    (failed,) = [one for one in heard.tasks if one.state != "succeeded"]
    assert (failed.label, failed.state, failed.failure_kind) == ("U4", "failed", "moderation")
    assert failed.failure == "[Banned prompt detected] cat"


async def test_what_a_budget_refuses_is_an_end(bench: Any, heard: Heard) -> None:
    """Two of four are refused: the chain waits for the other two."""
    bench.budget = Budget(submissions=2)
    bench.rules(UPSCALE_ALL)
    await bench.start()
    await bench.callback()
    presses = await bench.until_states("accepted", "accepted", "refused", "refused")
    assert await joins(bench) == []
    for one in presses:
        if one.state == "accepted":
            await end(bench, one)
    await until_given(bench, *BOTH)
    assert sorted(state for _, state in heard.rested[0]) == ["refused", "refused"] + ["succeeded"] * 3
    refused = next(one for one in heard.tasks if one.state == "refused")
    assert (refused.id, refused.status) == ("", "")
    assert "limit" in refused.failure


async def test_a_chain_whose_first_prompt_is_refused_is_at_rest(bench: Any, heard: Heard) -> None:
    """It has no task at all; the signal is about the submission."""
    bench.upstream.answer = lambda path, body: (200, {"code": 24, "description": "banned prompt"})
    await bench.start()
    submission_id = await bench.ask(Imagine(prompt="a bad cat"))
    await until_given(bench, "chain.rested")
    (event,) = await joins(bench)
    assert (event.task_id, event.submission_id) == ("", submission_id)
    assert heard.rested == [[("imagine", "rejected")]]


async def test_one_more_press_gives_both_once_more(bench: Any, heard: Heard) -> None:
    """A person wants a variation too."""
    bench.upstream.tasks["grid"] = {}
    buttons = [
        *four("0ddb91a0-af46-4ae9-8e8e-c271074eb6e6"),
        {"customId": "MJ::JOB::variation::1::x", "label": "V1"},
    ]
    bench.rules(UPSCALE_ALL.replace("U*", "U1"))
    await bench.start()
    await bench.callback(buttons=buttons)
    (first,) = await bench.until_states("accepted")
    await end(bench, first)
    await until_given(bench, *BOTH)
    await press(bench, "V1")
    _, second = await bench.until_states("accepted", "accepted")
    await end(bench, second, action="VARIATION")
    await until_given(bench, *BOTH, *BOTH)
    assert heard.done[-1] == ("grid", [("U1", "succeeded"), ("V1", "succeeded")])


async def test_repeated_and_late_callbacks_give_no_second_signal(bench: Any, heard: Heard) -> None:
    """SUCCESS three times, progress after it, a replay, and buttons that come late and are pressed by nobody."""
    presses = await four_presses(bench)
    for one in presses:
        await end(bench, one)
    await until_given(bench, *BOTH)
    for one in presses:
        await end(bench, one)
        await end(bench, one, "IN_PROGRESS", progress="50%")
        await end(bench, one)
    await bench.callback()
    succeeded = next(one for one in await bench.events() if one.signal == "task.succeeded")
    await bench.database.write(
        "replay", lambda connection: replay(connection, succeeded.id, force=False, now_ms=now_ms())
    )
    bench.database.wakeups.wake("events")
    await until_given(bench, *BOTH)


@pytest.mark.parametrize("text", ["always the same", "picture of {{ chain.tasks | length }} tasks"])
async def test_what_a_rest_requests_gives_no_second_rest(bench: Any, heard: Heard, text: str) -> None:
    """A new prompt in the same chain, whose grid is pressed four times by another rule."""
    bench.rules(f'{UPSCALE_ALL}[[rules]]\nname = "more"\non = "chain.rested"\nimagine = "{text}"\n')
    bench.upstream.answer = lambda path, body: (
        200,
        {"code": 1, "result": "second" if "prompt" in body else body["customId"]},
    )
    await bench.start()
    await bench.callback()
    presses = await bench.until_states(*["accepted"] * 4)
    for one in presses:
        await end(bench, one)
    made = await bench.until_states(*["accepted"] * 5)
    (more,) = [one for one in made if one.kind == "imagine"]
    uuid = "11111111-af46-4ae9-8e8e-c271074eb6e6"
    await bench.callback("second", more.id, buttons=four(uuid))
    made = await bench.until_states(*["accepted"] * 9)
    for one in made:
        if one.parent_id == "second":
            await end(bench, one)
    # The new prompt is none of the presses on the first grid. Those on the second give a signal of their own.
    await until_given(bench, "chain.rested", "children.done", "children.done")
    assert heard.done == [("grid", FOUR), ("second", FOUR)]
    assert len(bench.upstream.received) == 9
    await press(bench, "U1", "second")  # pressed already: nothing new
    await settled(bench)
    assert len(await joins(bench)) == 3


async def test_what_finished_children_request_gives_no_second_signal_about_them(
    bench: Any, heard: Heard
) -> None:
    """A rule requests a new prompt when all presses have ended: the prompt belongs to the same task. The chain rests once, after it."""
    bench.rules(
        f'{UPSCALE_ALL}[[rules]]\nname = "more"\non = "children.done"\nimagine = "x {{{{ chain.children | length }}}}"\n'
    )
    await four_presses_of(bench)
    made = await bench.until_states(*["accepted"] * 5)
    assert [one.signal for one in await joins(bench)] == ["children.done"]
    (more,) = [one for one in made if one.kind == "imagine"]
    await bench.callback(more.task_ids[0], more.id, buttons=[])
    await until_given(bench, *BOTH)
    assert len(bench.upstream.received) == 5


async def four_presses_of(bench: Any) -> None:
    """A grid, the four presses, and their ends."""
    await bench.start()
    await bench.callback()
    for one in await bench.until_states(*["accepted"] * 4):
        await end(bench, one)


async def test_a_forged_end_gives_no_join(bench: Any, heard: Heard) -> None:
    """Somebody posts the success of the last press to its hook; the upstream says that it still runs."""
    *three, last = await four_presses(bench)
    for one in three:
        await end(bench, one)
    bench.upstream.tasks[last.task_ids[0]] = {
        "id": last.task_ids[0],
        "action": "UPSCALE",
        "status": "IN_PROGRESS",
        "progress": "10%",
    }
    await end(bench, last, forged=True)

    async def refuted() -> bool:
        return any(one.provenance == "refuted" for one in await bench.events())

    await bench.until(refuted)
    await bench.until_quiet()
    assert await joins(bench) == []
    await end(bench, last)
    await until_given(bench, *BOTH)


async def test_a_forged_end_that_nobody_else_hears_gives_no_join(bench: Any, heard: Heard) -> None:
    """No receiver of the task's end has it read back: the join waits for the poll, which refutes it."""
    await bench.start()
    root = await bench.ask(Imagine(prompt="a cat"))
    (task_id,) = (await bench.until_state(root, "accepted")).task_ids
    bench.upstream.tasks[task_id] = {"id": task_id, "action": "IMAGINE", "status": "IN_PROGRESS"}
    await bench.callback(task_id, root, forged=True)

    async def refuted() -> bool:
        return any(one.provenance == "refuted" for one in await bench.events())

    await bench.until(refuted)
    assert await joins(bench) == []
    await bench.callback(task_id, root)
    await until_given(bench, "chain.rested")


async def test_a_press_that_waits_for_its_time_is_waited_for(bench: Any, heard: Heard) -> None:
    """One at once, and one in an hour; the second is done when a person presses it now."""
    bench.rules(
        UPSCALE_ALL.replace("U*", "U1")
        + '[[rules]]\nname = "later"\non = "task.succeeded"\nif = "task.is_grid"\npress = "U2"\nafter = "1 h"\n'
    )
    await bench.start()
    await bench.callback()
    made = await bench.until_states("accepted", "waiting")
    await end(bench, next(one for one in made if one.state == "accepted"))

    async def heard_by_all() -> bool:
        return all(one.state == "done" for one in await bench.deliveries())

    await bench.until(heard_by_all)
    assert await joins(bench) == []


async def test_an_unknown_outcome_is_waited_for(bench: Any, heard: Heard) -> None:
    """The upstream hangs up: the press may be running. Its picture proves it, and ends it."""
    bench.upstream.answer = lambda path, body: None
    bench.options |= {"settle_after_s": 3600.0}
    bench.rules(UPSCALE_ALL.replace("U*", "U1"))
    await bench.start()
    await bench.callback()
    (lost,) = await bench.until_states("uncertain")

    async def heard_by_all() -> bool:
        found = await bench.deliveries()
        return bool(found) and all(one.state == "done" for one in found)

    await bench.until(heard_by_all)
    assert await joins(bench) == []
    await bench.callback(
        "found", lost.id, action="UPSCALE", buttons=[], state=lost.id, properties={"customId": U[0]}
    )
    await bench.until_states("accepted")
    await until_given(bench, *BOTH)


ZOOM = {"customId": "MJ::CustomZoom::x", "label": "Custom Zoom"}


@pytest.mark.parametrize("continues_as", ["win", "other"])
async def test_a_modal_is_waited_for_until_its_answer_has_ended(
    bench: Any, heard: Heard, continues_as: str
) -> None:
    """A press opens a modal; a person answers it later; the task goes on under its id, or under another one."""

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path.endswith("/modal"):
            return 200, {"code": 1, "result": continues_as}
        return 200, {"code": 21, "result": "win", "properties": {"finalPrompt": "a cat", "remix": True}}

    bench.upstream.answer = answer
    bench.options |= {"dialect": "mj-plus"}
    bench.rules(
        '[[rules]]\nname = "zoom"\non = "task.succeeded"\nif = "chain.depth == 0"\npress = "Custom Zoom"\n'
    )
    await bench.start()
    await bench.callback(buttons=[ZOOM])
    bench.upstream.tasks["win"] = {"id": "win", "action": "ZOOM", "status": "MODAL"}
    await bench.until_states("needs_modal")
    await bench.until_quiet()
    assert await joins(bench) == []
    answer_id = await bench.ask(Modal(task_id="win", prompt="a cat --zoom 1.8"))
    await bench.until_state(answer_id, "accepted")
    await bench.until_quiet()
    assert await joins(bench) == []
    await bench.callback(continues_as, answer_id if continues_as != "win" else "", action="ZOOM", buttons=[])
    await until_given(bench, *BOTH)
    ((_, children),) = heard.done
    assert children == [("Custom Zoom", "succeeded")]


async def test_an_effect_that_is_tried_again_is_not_waited_for(bench: Any, heard: Heard) -> None:
    """A webhook is down; the message about the chain goes out all the same."""
    bench.rules(
        f'{UPSCALE_ALL}[[rules]]\nname = "f"\non = "task.succeeded"\nforward = "http://127.0.0.1:9/in"\n'
    )
    await four_presses_of(bench)

    async def given() -> bool:
        return len(await joins(bench)) == 2

    await bench.until(given)
    states = {one.receiver: one.state for one in await bench.deliveries()}
    assert states["rule:f/forward"] in ("waiting", "running")


async def test_a_plugin_that_is_tried_again_is_waited_for(bench: Any, heard: Heard) -> None:
    """It fails on the last picture, and presses one more button when it is tried again."""
    failed: list[str] = []

    async def slow(_action: str, *, task: Any, chain: Any, **_: Any) -> None:
        if task.image_number == 4:
            if not failed:
                failed.append(task.id)
                raise RuntimeError("not yet")
            chain.imagine("one more")

    task_succeeded.connect(slow, weak=False)
    presses = await four_presses(bench)
    for one in presses:
        await end(bench, one, description=f"/up grid {one.label}")
    made = await bench.until_states(*["accepted"] * 5)
    assert not [one for one in await joins(bench) if one.signal == "chain.rested"]
    (more,) = [one for one in made if one.kind == "imagine"]
    await bench.callback(more.task_ids[0], more.id, buttons=[])
    await until_given(bench, "chain.rested", "children.done", "children.done")


async def test_what_rested_before_anybody_listened_gives_nothing(bench: Any, signals: Any) -> None:
    """The chain ends without receivers of joins; then there are some, the process starts again, and callbacks are repeated."""
    presses = await four_presses(bench)
    for one in presses:
        await end(bench, one)
    await bench.until_quiet()
    await bench.stop()
    Heard()
    await bench.start()
    for one in presses:
        await end(bench, one)
    await settled(bench)
    assert await joins(bench) == []


async def test_a_task_of_somebody_else_that_nobody_presses_gives_nothing(bench: Any, heard: Heard) -> None:
    """hookchain submitted nothing, so nothing came to rest."""
    await bench.start()
    await bench.callback()
    await settled(bench)
    assert await joins(bench) == []


async def test_a_person_hears_of_a_press_although_no_rule_listens_to_tasks(bench: Any, heard: Heard) -> None:
    """Nothing but the poll confirms the end."""
    await bench.start()
    root = await bench.ask(Imagine(prompt="a cat"))
    submission = await bench.until_state(root, "accepted")
    await bench.callback(submission.task_ids[0], root, buttons=[])
    await until_given(bench, "chain.rested")
    assert heard.rested == [[("imagine", "succeeded")]]


async def test_other_signals_have_no_tasks_of_the_chain(bench: Any, signals: Any) -> None:
    """A plugin that looks for them hears why there are none."""
    said: list[str] = []

    async def looks(_action: str, *, chain: Any, **_: Any) -> None:
        with pytest.raises(GiveUp) as raised:
            _ = chain.tasks
        said.append(str(raised.value))

    task_succeeded.connect(looks, weak=False)
    await bench.start()
    await bench.callback()
    await bench.until_quiet()
    assert said == ["chain.tasks is known to receivers of chain_rested and children_done only"]


async def test_a_dead_chain_signal_is_tried_again_like_any_other(bench: Any, signals: Any) -> None:
    """It is an event: its receiver's failure is a dead letter."""

    async def never(_action: str, **_: Any) -> None:
        raise GiveUp("no")

    chain_rested.connect(never, weak=False)
    await four_presses_of_rule(bench)

    async def dead() -> bool:
        return any(one.state == "dead" for one in await bench.deliveries())

    await bench.until(dead)
    assert [one.signal for one in await joins(bench)] == ["chain.rested"]


async def four_presses_of_rule(bench: Any) -> None:
    bench.rules(UPSCALE_ALL)
    await four_presses_of(bench)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_two_workers_give_one_signal(bench: Any, heard: Heard) -> None:
    """Both fan out and look, on one database; ten chains end at the same moment."""
    bench.rules(UPSCALE_ALL.replace("task.is_grid", "task.is_grid and chain.depth == 0"))
    await bench.start()
    other = bench.worker()
    await other.start()
    try:
        for number in range(10):
            uuid = f"{number:08d}-af46-4ae9-8e8e-c271074eb6e6"
            await bench.callback(f"grid {number}", buttons=four(uuid))
        presses = await bench.until_states(*["accepted"] * 40)
        await asyncio.gather(*(end(bench, one) for one in presses))
        await until_given(bench, *BOTH * 10)
    finally:
        await other.stop()
    assert sorted(heard.done) == [(f"grid {n}", FOUR) for n in range(10)]


async def test_a_chain_of_sixty_rests_once(bench: Any, heard: Heard) -> None:
    """One picture asks for sixty more; they end in any order."""
    bench.budget = Budget(submissions=100, per_rule=100)

    async def ask(_action: str, *, chain: Any, **_: Any) -> None:
        if chain.depth == 0:
            for number in range(60):
                chain.imagine(f"cat {number}")

    task_succeeded.connect(ask, weak=False)
    await bench.start()
    await bench.callback()
    made = await bench.until_states(*["accepted"] * 60)
    for one in sorted(made, key=lambda one: one.id):
        await bench.callback(one.task_ids[0], one.id, buttons=[])
    await until_given(bench, *BOTH)
    ((_, children),) = heard.done
    assert children == [("imagine", "succeeded")] * 60


async def test_rules_on_joins_are_tried_on_recorded_ones(bench: Any, heard: Heard) -> None:
    """With the tasks of their chains; what-if runs them as the server does."""
    await four_presses_of_rule(bench)
    await until_given(bench, *BOTH)
    text = "[[rules]]\nname = 'again'\non = 'chain.rested'\nimagine = '{{ chain.tasks | length }} tasks'\n"
    rules = load_rules(tomllib.loads(text)["rules"], file="rules.toml", text=text)
    tried = WhatIf(rules, {"main": UpstreamHandle(name="main", dialect=DIALECTS["trueai"])}, {}, bench.budget)
    happened = await bench.database.read(lambda connection: list(recorded(connection, tried.facts, 0)))
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(happened), type=list[ClaimedDelivery])
    report = tried.run(sent)
    assert report.errors == {}
    assert [(one.kind, one.task_id) for one in report.suggested] == [("imagine", "grid")]
