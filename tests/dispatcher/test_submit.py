"""Submissions leave once, within limits, and every answer leads somewhere."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dispatcher.policy.chain_budget import Budget
from hookchain import submission_accepted, submission_needs_modal, task_succeeded
from midjourney.codes import Outcome
from midjourney.requests import Action, Imagine
from storage.clock import now_ms
from storage.schema import SCHEMA
from storage.submissions import proof
from storage.tasks import rows as tasks
from tests.conftest import PATIENCE_S
from tests.dispatcher.conftest import four

UPSCALE_ALL = """
[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"
"""
PRESS_ONE = UPSCALE_ALL.replace("U*", "U1")
VARY = "MJ::JOB::variation::1::0ddb91a0-af46-4ae9-8e8e-c271074eb6e6"
ZOOM = "MJ::CustomZoom::0ddb91a0-af46-4ae9-8e8e-c271074eb6e6"
WITH_ZOOM = {"action": "UPSCALE", "buttons": [{"customId": ZOOM, "label": "Custom Zoom"}]}
PRESS_ZOOM = """
[[rules]]
name = "zoom"
on = "task.succeeded"
press = "custom_zoom"
"""
ANSWER = """
[[rules]]
name = "answer"
on = "submission.needs_modal"
modal = { prompt = "{{ modal.prompt }} --zoom 1.8" }
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backoff in hundredths of a second."""
    monkeypatch.setattr("dispatcher.policy.outcomes.delay_s", lambda attempt, **_: 0.01)
    monkeypatch.setattr("dispatcher.policy.queue_full.delay_s", lambda attempt, **_: 0.01)
    monkeypatch.setattr("dispatcher.loops.loop.POLL_S", 0.1)


async def test_all_four_upscales_are_pressed_by_their_own_ids(bench: Any) -> None:
    """With the hook of each submission, and its lineage."""
    bench.rules(UPSCALE_ALL)
    await bench.start()
    await bench.callback()
    made = await bench.until_states(*["accepted"] * 4)
    assert sorted(bench.upstream.pressed()) == [
        f"MJ::JOB::upsample::{n}::0ddb91a0-af46-4ae9-8e8e-c271074eb6e6" for n in (1, 2, 3, 4)
    ]
    for submission in made:
        assert (submission.parent_id, submission.depth, submission.asked_by) == (
            "grid",
            1,
            "rule:upscale-all",
        )
        hooks = [body["notifyHook"] for _, body in bench.upstream.received]
        assert sum(hook.endswith(f"/{submission.id}") for hook in hooks) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_many_writes_make_due_is_claimed_once_for_all(bench: Any) -> None:
    """Ten runs end while the writer is busy: their ends share a transaction and a claim, and each press leaves once."""
    bench.rules(PRESS_ONE)
    bench.options["verify"] = "trust"
    free, batches, held = threading.Event(), [list[str]()], list[asyncio.Task[Any]]()
    loop = asyncio.get_running_loop()

    def hold() -> None:
        held.append(asyncio.create_task(bench.database.write("hold", lambda _: free.wait(PATIENCE_S))))

    def on_commit(stage: str, name: str) -> None:
        if (stage, name) == ("after", "claim_delivery") and not held:
            loop.call_soon_threadsafe(hold)
        if stage == "after":
            batches.append([])
        else:
            batches[-1].append(name)

    # Otherwise most runs end by waiting for others to be verified, and request nothing.
    bench.database.trust({"main"})
    for number in range(10):
        await bench.callback(f"grid {number}")
    bench.database.observe(on_commit)
    await bench.start()
    writer = bench.database._ingest
    async with asyncio.timeout(PATIENCE_S):
        while writer.waiting <= 10:  # with the one that holds it
            await asyncio.sleep(0)
    free.set()
    await bench.until_states(*["accepted"] * 10)
    (together,) = [names for names in batches if names.count("finish_delivery") == 10]
    assert together.count("begin_attempt") == 1
    assert len({body["taskId"] for _, body in bench.upstream.received}) == len(bench.upstream.received) == 10


async def test_what_has_ended_is_in_nobodys_hands(bench: Any) -> None:
    """Otherwise a worker would count a claim of its own as under way that it has dropped, and nobody would take it over."""
    bench.rules(UPSCALE_ALL)
    await bench.start()
    in_hand = bench._worker._membership.in_hand
    during: list[tuple[frozenset[int], frozenset[str]]] = []
    bench.database.observe(
        lambda _stage, name: during.append(in_hand()) if name == "settle_attempt" else None
    )
    await bench.callback()
    made = await bench.until_states(*["accepted"] * 4)
    assert {id_ for _, submissions in during for id_ in submissions} == {submission.id for submission in made}
    async with asyncio.timeout(PATIENCE_S):
        while any(in_hand()):  # the last attempt ends just after its commit
            await asyncio.sleep(0)


async def test_no_more_requests_are_under_way_than_the_upstream_allows(bench: Any) -> None:
    """Concurrency 2, four presses, answers held back: two are under way, the others wait."""
    bench.rules(UPSCALE_ALL)
    bench.options["concurrency"] = 2
    bench.upstream.gate.clear()
    await bench.start()
    await bench.callback()

    async def two() -> bool:
        return len(bench.upstream.received) >= 2

    await bench.until(two)
    bench.upstream.gate.set()
    await bench.until_states(*["accepted"] * 4)
    assert bench.upstream.most_in_flight == 2


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"code": 23, "description": "Queue full", "result": None}),
        (429, {"code": 30, "description": "saturated"}),
        (200, {"code": 9, "description": "提交失败，队列已满，请稍后重试"}),
        (200, {"code": 4, "description": "关联任务状态错误"}),
    ],
)
async def test_what_passes_is_tried_again(bench: Any, answer: tuple[int, Any]) -> None:
    """A full queue in its three forms, and a press that came too early: pressed once it works."""
    bench.rules(PRESS_ONE)
    ok = (200, {"code": 1, "description": "ok", "result": "child"})
    bench.upstream.answer = lambda path, body: answer if len(bench.upstream.received) < 3 else ok
    await bench.start()
    await bench.callback()
    (made,) = await bench.until_states("accepted")
    assert made.attempts == 3
    assert made.task_ids == ("child",)


async def test_what_has_called_by_its_own_path_is_not_sent_again_whatever_the_answer(bench: Any) -> None:
    """The callback overtakes an answer that says "queue full": it is there, and would be paid for twice."""
    bench.rules(PRESS_ONE)
    bench.upstream.answer = lambda path, body: (
        200,
        {"code": 23, "description": "Queue full", "result": None},
    )
    bench.upstream.gate.clear()
    await bench.start()
    await bench.callback()

    async def sent() -> bool:
        return bool(bench.upstream.received)

    await bench.until(sent)
    mark = bench.upstream.received[0][1]["notifyHook"].rsplit("/", 1)[-1]
    await bench.callback("child", mark, status="SUBMITTED", progress="0%", action="UPSCALE", state=mark)
    await bench.until_tied("child")
    bench.upstream.gate.set()
    (made,) = await bench.until_states("accepted")
    await bench.until_quiet()
    assert made.task_ids == ("child",)
    assert len(bench.upstream.received) == 1


@pytest.mark.parametrize(
    ("answer", "state", "signal"),
    [
        (
            (200, {"code": 24, "description": "banned", "properties": {"bannedWord": "nude"}}),
            "rejected",
            "rejected",
        ),
        ((200, {"success": False, "code": -1, "message": "NotifyHook too long"}), "rejected", "rejected"),
        ((401, b""), "dead", "dead"),
        ((500, b"<html>"), "uncertain", "uncertain"),
        ((200, b""), "uncertain", "uncertain"),
        (None, "uncertain", "uncertain"),
        ((200, {"code": 21, "description": "任务已存在", "result": "old"}), "existed", "existed"),
        ((200, {"code": 22, "description": "In queue, there are 2", "result": "c"}), "accepted", "queued"),
    ],
)
async def test_every_answer_is_an_event(bench: Any, answer: Any, state: str, signal: str) -> None:
    """One attempt, and the signal that says what became of it."""
    bench.rules(PRESS_ONE)
    bench.upstream.answer = lambda path, body: answer
    await bench.start()
    await bench.callback()
    (made,) = await bench.until_states(state)
    assert made.attempts == 1
    assert [event.signal for event in await bench.events(source="answer")] == [f"submission.{signal}"]
    assert len(bench.upstream.received) == 1


async def test_an_upstream_that_cannot_be_reached_costs_nothing_and_is_tried_again(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing listens there: the submission waits, and what it waits for is said."""
    monkeypatch.setattr("dispatcher.loops.restores.HOLD_S", 0)  # nobody waits for its list
    bench.rules(PRESS_ONE)
    bench.upstream.url = "http://127.0.0.1:9"
    bench.options["verify"] = "trust"
    await bench.start()
    await bench.callback()

    async def tried() -> Any:
        return [one for one in await bench.submissions() if one.attempts >= 3]

    (made,) = await bench.until(tried)
    assert "could not be reached" in made.reason


async def test_a_window_is_answered_once(bench: Any) -> None:
    """Code 21 on a Custom Zoom; two rules answer it: one modal, with the window's own id and prompt."""
    bench.rules(PRESS_ZOOM + ANSWER + ANSWER.replace("answer", "answer-too").replace("1.8", "1.5"))
    bench.upstream.answer = lambda path, body: (
        (
            200,
            {
                "code": 21,
                "description": "窗口等待",
                "result": "window",
                "properties": {"finalPrompt": "a cat"},
            },
        )
        if path.endswith("action")
        else (200, {"code": 1, "description": "ok", "result": "window"})
    )
    await bench.start()
    await bench.callback("single", **WITH_ZOOM)
    await bench.until_states("needs_modal", "accepted")
    await bench.until_quiet()
    modals = [body for path, body in bench.upstream.received if path.endswith("modal")]
    assert len(modals) == 1
    assert modals[0]["taskId"] == "window"
    assert modals[0]["prompt"] in ("a cat --zoom 1.8", "a cat --zoom 1.5")
    assert "notifyHook" not in modals[0]


async def test_an_empty_window_shows_its_parents_prompt(bench: Any) -> None:
    """trueai's Inpaint answers with finalPrompt "" (issue 59)."""
    bench.rules(PRESS_ZOOM)
    shown = []

    @submission_needs_modal.connect
    async def look(action: str, *, modal: Any, **_: Any) -> None:
        shown.append((action, modal.task_id, modal.prompt, modal.kind, modal.needs_mask))

    bench.upstream.answer = lambda path, body: (
        200,
        {
            "code": 21,
            "description": "Waiting for window confirm",
            "result": "w",
            "properties": {"finalPrompt": ""},
        },
    )
    await bench.start()
    await bench.callback("single", properties={"finalPrompt": "a cat --v 7"}, **WITH_ZOOM)

    async def heard() -> bool:
        return bool(shown)

    await bench.until(heard)
    assert shown == [("ZOOM", "w", "a cat --v 7", "custom_zoom", False)]


async def test_23_to_a_modal_repeats_its_action_and_answers_anew(bench: Any) -> None:
    """Plus deletes the window with its refusal: pressed again, answered again, nothing doubled."""
    bench.rules(PRESS_ZOOM + ANSWER)
    windows = iter(["w1", "w2"])

    def answer(path: str, body: dict[str, Any]) -> Any:
        if path.endswith("action"):
            return 200, {"code": 21, "description": "窗口等待", "result": next(windows)}
        if body["taskId"] == "w1":
            return 200, {"code": 23, "description": "队列已满", "result": None}
        return 200, {"code": 1, "description": "ok", "result": "w2"}

    bench.upstream.answer = answer
    await bench.start()
    await bench.callback("single", prompt="a cat", **WITH_ZOOM)
    await bench.until_states("needs_modal", "rejected", "accepted")
    await bench.until_quiet()
    asked = [(path.rsplit("/")[-1], body.get("taskId")) for path, body in bench.upstream.received]
    assert asked == [("action", "single"), ("modal", "w1"), ("action", "single"), ("modal", "w2")]


async def test_a_chain_stops_at_its_budget(bench: Any) -> None:
    """A rule that presses on every success, an upstream whose every child is a grid: the budget ends it."""
    bench.rules(UPSCALE_ALL.replace("task.is_grid and chain.depth == 0", "task.is_grid"))
    bench.budget = Budget(submissions=6)
    await bench.start()
    await bench.callback()
    for submission in await bench.until_states(*["accepted"] * 4):
        buttons = four(str(uuid.uuid4()))
        await bench.callback(submission.task_ids[0], submission.id, action="UPSCALE", buttons=buttons)
    await bench.until_quiet()
    made = await bench.submissions()
    assert sorted(one.state for one in made) == ["accepted"] * 6 + ["refused"] * 14
    assert len(bench.upstream.received) == 6
    exceeded = [event for event in await bench.events() if event.signal == "budget.exceeded"]
    assert exceeded
    assert "limit is 6" in exceeded[0].detail


async def test_an_uncertain_submission_is_not_sent_again_without_evidence(bench: Any) -> None:
    """The upstream's list does not even show the parent: it proves nothing."""
    bench.rules(PRESS_ONE)
    bench.options["settle_after_s"] = 0.0
    bench.upstream.answer = lambda path, body: None
    await bench.start()
    await bench.callback()
    await bench.until_states("uncertain")
    await asyncio.sleep(0)
    assert len(bench.upstream.received) == 1


async def test_an_uncertain_submission_is_sent_once_more_where_the_user_says_so(bench: Any) -> None:
    """`uncertain = "retry"`: without evidence a second time, and no third."""
    bench.rules(PRESS_ONE)
    bench.options |= {"settle_after_s": 0.0, "timeout_s": 0.5, "uncertain": "retry"}
    bench.upstream.answer = lambda path, body: None
    await bench.start()
    await bench.callback()

    async def twice() -> bool:
        found = await bench.submissions()
        return [(one.state, one.attempts) for one in found] == [("uncertain", 2)]

    await bench.until(twice)
    assert len(bench.upstream.received) == 2


async def test_a_person_settles_what_nothing_else_can(bench: Any) -> None:
    """Accepted: its task takes its place in the chain. Not accepted: it is sent again."""
    bench.rules(UPSCALE_ALL)
    bench.options["settle_after_s"] = 1000.0
    bench.upstream.answer = lambda path, body: None
    await bench.start()
    await bench.callback()
    first, second, *_ = await bench.until_states(*["uncertain"] * 4)

    def settle(connection: Any, one: Any, accepted: bool, task_id: str) -> bool:
        return proof.settle_by_hand(connection, one, accepted=accepted, task_id=task_id, now_ms=now_ms())

    assert await bench.database.write("settle", lambda c: settle(c, first, True, "child"))
    assert not await bench.database.write("settle", lambda c: settle(c, first, False, ""))
    bench.upstream.answer = lambda path, body: (200, {"code": 1, "description": "ok", "result": "other"})
    assert await bench.database.write("settle", lambda c: settle(c, second, False, ""))
    bench.database.wakeups.wake("submissions")
    made = await bench.until_states("accepted", "accepted", "uncertain", "uncertain")
    assert {one.label: one.task_ids for one in made if one.state == "accepted"} == {
        first.label: ("child",),
        second.label: ("other",),
    }
    task = await bench.database.read(lambda connection: tasks.find(connection, "main", "child"))
    assert (task.parent_id, task.submission_id, task.depth) == ("grid", first.id, 1)


async def test_two_rules_that_press_one_button_share_one_submission(bench: Any) -> None:
    """And both hear of its outcome."""
    bench.rules(PRESS_ONE + PRESS_ONE.replace("upscale-all", "another"))
    heard: list[str] = []

    @submission_accepted.connect
    def one(action: str, **_: Any) -> None:
        heard.append("one")

    @submission_accepted.connect
    def other(action: str, **_: Any) -> None:
        heard.append("other")

    await bench.start()
    await bench.callback()

    async def told() -> bool:
        return len(heard) == 2

    await bench.until(told)
    await bench.until_quiet()
    assert sorted(heard) == ["one", "other"]
    assert len(bench.upstream.received) == 1


async def test_the_upstreams_list_settles_an_uncertain_submission(bench: Any) -> None:
    """A task with its mark is there: accepted. The list shows a later press, and not it: sent again, and once."""
    bench.rules(UPSCALE_ALL)
    bench.options |= {"settle_after_s": 0.0, "timeout_s": 0.5}
    bench.upstream.keeps_list = True
    bench.upstream.answer = lambda path, body: None
    await bench.start()
    await bench.callback()
    lost = await bench.until_states(*["uncertain"] * 4)
    bench.upstream.listed = [{"id": "grid", "status": "SUCCESS", "progress": "100%"}]
    bench.upstream.list_task("found", {"state": lost[0].id})
    await bench.until_states("accepted", "uncertain", "uncertain", "uncertain")
    await asyncio.sleep(0.5)  # the requests could have ended
    bench.upstream.answer = lambda path, body: (
        200,
        {"code": 1, "description": "ok", "result": f"again-{len(bench.upstream.received)}"},
    )
    await bench.callback("single", action="UPSCALE", buttons=[{"customId": VARY, "label": "V1"}])
    await bench.ask(Action(task_id="single", custom_id=VARY))
    made = await bench.until_states(*["accepted"] * 5)
    assert sorted(one.task_ids for one in made)[-1] == ("found",)
    assert len(bench.upstream.received) == 4 + 1 + 3


async def test_the_answer_to_a_window_is_proven_by_the_window_only(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It carries no mark: while the window waits nothing is known, and it is not sent again; once it runs, it is."""
    monkeypatch.setattr(
        "dispatcher.policy.looks.LONGEST_PAUSE_MS", 100
    )  # else each look comes twice as late as the last
    bench.rules(PRESS_ZOOM + ANSWER)
    bench.options["settle_after_s"] = 0.0
    window = {"id": "window", "status": "MODAL", "progress": "0%"}
    bench.upstream.listed = [window]
    bench.upstream.answer = lambda path, body: (
        (200, {"code": 21, "description": "窗口等待", "result": "window"})
        if path.endswith("action")
        else None
    )
    await bench.start()
    await bench.callback("single", prompt="a cat", **WITH_ZOOM)
    await bench.until_states("needs_modal", "uncertain")
    asked = bench.upstream.lists

    async def looked_twice() -> bool:
        return bool(bench.upstream.lists >= asked + 2)

    await bench.until(looked_twice)
    assert len([path for path, _ in bench.upstream.received if path.endswith("modal")]) == 1
    window["status"] = "SUBMITTED"
    await bench.until_states("needs_modal", "accepted")
    assert len([path for path, _ in bench.upstream.received if path.endswith("modal")]) == 1


async def test_an_answer_after_its_callback_is_joined_with_it(bench: Any) -> None:
    """The child calls back before the submit is answered: one task, in its chain, told once."""
    bench.rules(PRESS_ONE)
    bench.upstream.gate.clear()
    await bench.start()
    await bench.callback()

    async def asked() -> bool:
        return bool(bench.upstream.received)

    await bench.until(asked)
    hook = bench.upstream.received[0][1]["notifyHook"]
    await bench.callback("child-1", hook.rsplit("/")[-1], action="UPSCALE", buttons=[])
    bench.upstream.gate.set()
    (made,) = await bench.until_states("accepted")
    assert made.task_ids == ("child-1",)
    told = [event for event in await bench.events(task_id="child-1") if event.signal == "task.succeeded"]
    assert len(told) == 1


def test_outcomes_have_words() -> None:
    """Every outcome has its signal."""
    from dispatcher.plugins.signals import SIGNALS

    assert {f"submission.{outcome}" for outcome in Outcome} <= SIGNALS.keys()
    assert now_ms() > 0


async def test_upscales_of_one_grid_go_in_turn_where_their_results_can_be_swapped(bench: Any) -> None:
    """The next one leaves when the one before it has ended, however; another grid's need not wait for it."""
    bench.options["dialect"] = "mj-plus"

    @task_succeeded.connect_via("IMAGINE")
    def press(action: str, *, chain: Any, **_: Any) -> None:
        chain.press("U*")

    await bench.start()
    await bench.callback("one")
    await bench.callback("two")

    async def first_of_each() -> bool:
        return len(bench.upstream.received) == 2

    await bench.until(first_of_each)
    first, other = (body["taskId"] for _, body in bench.upstream.received)
    assert {first, other} == {"one", "two"}
    for number, status in ((1, "SUCCESS"), (3, "FAILURE")):
        await bench.callback(f"child-{number}", action="UPSCALE", status=status, buttons=[])

        async def next_left(wanted: int = number // 2 + 3) -> bool:
            return len(bench.upstream.received) == wanted

        await bench.until(next_left)
    assert [body["taskId"] for _, body in bench.upstream.received] == [first, other, first, first]


async def test_a_task_that_its_upstream_does_not_know_keeps_nobody_waiting(bench: Any) -> None:
    """No callback comes for the first upscale, and a fetch knows nothing of it: the next one goes."""
    bench.options |= {"dialect": "mj-plus", "look_after_s": 0.05}
    bench.rules(UPSCALE_ALL)
    await bench.start()
    await bench.callback()
    await bench.until_states(*["accepted"] * 4)
    assert [custom_id.split("::")[3] for custom_id in bench.upstream.pressed()] == ["1", "2", "3", "4"]


@pytest.fixture
async def refuses_accepted(bench: Any) -> AsyncIterator[None]:
    """A database that takes no submission as accepted. PostgreSQL's is another test's afterwards."""
    table = f"{SCHEMA}.submissions"
    begin, end = (
        (
            f"ALTER TABLE {table} ADD CONSTRAINT refused CHECK (state <> 'accepted')",
            f"ALTER TABLE {table} DROP CONSTRAINT refused",
        )
        if bench.database.path is None
        else (
            "CREATE TRIGGER refused BEFORE UPDATE ON submissions WHEN NEW.state = 'accepted' BEGIN SELECT RAISE(ABORT, 'refused'); END",
            "DROP TRIGGER refused",
        )
    )
    await bench.database.write("refuse", lambda connection: connection.exec_driver_sql(begin))
    yield
    await bench.stop()
    await bench.database.write("allow", lambda connection: connection.exec_driver_sql(end))


@pytest.mark.usefixtures("refuses_accepted")
async def test_an_answer_that_the_database_refuses_leaves_its_submission_uncertain(bench: Any) -> None:
    """The upstream has taken it, and that cannot be written down: it is neither left "sending" nor sent again."""
    await bench.start()
    submission_id = await bench.ask(Imagine(prompt="a cat"))
    found = await bench.until_state(submission_id, "uncertain")
    assert found.reason.startswith("the answer cannot be stored: ")
    assert found.attempts == len(bench.upstream.received) == 1
