"""The family's traps, each by its name: what the upstream does, and what must come of it.

Where a real server's manner matters the sandbox plays it, as a process; else a stub says exactly what a vendor said.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from hookchain import submission_needs_modal, task_succeeded
from midjourney.buttons import Button
from midjourney.decode import decode_task
from midjourney.requests import Action, Change, Imagine
from storage.records import Submission

UUID = "0ddb91a0-af46-4ae9-8e8e-c271074eb6e6"
ZOOM = f"MJ::CustomZoom::{UUID}"
SINGLE: dict[str, Any] = {"action": "UPSCALE", "buttons": [{"customId": ZOOM, "label": "Custom Zoom"}]}
RULES = """
[[rules]]
name = "zoom"
on = "task.succeeded"
if = "chain.depth == 0"
press = "custom_zoom"

[[rules]]
name = "answer"
on = "submission.needs_modal"
modal = { prompt = "p --zoom 1.8" }
"""
UPSCALE_ALL = """
[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"
"""


def answers(*told: Any) -> Any:
    """One answer after the other; the last one stays."""
    left = list(told)

    def answer(_path: str, _body: dict[str, Any]) -> tuple[int, Any]:
        status, body = left.pop(0) if len(left) > 1 else left[0]
        return status, body

    return answer


def code(number: Any, result: Any, description: str = "ok", **properties: Any) -> tuple[int, Any]:
    return 200, {"code": number, "description": description, "result": result, "properties": properties}


async def pressed_once(bench: Any, told: Any) -> Submission:
    """The submission of one press of U1, when its answer has come."""

    @task_succeeded.connect
    def press(action: str, *, chain: Any, **_: Any) -> None:
        if chain.depth == 0:
            chain.press("U1")

    bench.upstream.answer = answers(told)
    await bench.start()
    await bench.callback()

    async def ended() -> Submission | None:
        found: list[Submission] = await bench.submissions()
        return next((one for one in found if one.attempts and one.state != "sending"), None)

    made: Submission = await bench.until(ended)
    return made


# 21 and 22


@pytest.mark.parametrize(
    "told",
    [
        code(21, "window", "等待窗口确认", finalPrompt="p", remix=True),
        code(21, "window", ""),
        code(1, "window", "Waiting for window confirm"),
        code(1, "window", "提交成功", remix=True),
    ],
    ids=["as it is", "without a word", "rewritten, by its description", "rewritten, by its properties"],
)
async def test_21_on_a_button_that_opens_a_window(bench: Any, told: Any) -> None:
    """The window has a new id; its modal goes to that id, once."""
    bench.rules(RULES)
    bench.upstream.answer = answers(told, code(1, "window"))
    await bench.start()
    await bench.callback("single", **SINGLE)
    action, modal = await bench.until_states("needs_modal", "accepted")
    assert (action.kind, modal.kind, modal.parent_id) == ("action", "modal", "window")
    assert bench.upstream.received[1][1] == {"taskId": "window", "prompt": "p --zoom 1.8"}


async def test_21_rewritten_to_1_is_seen_by_the_fetched_status(bench: Any) -> None:
    """new-api, PicReader or Remix: nothing in the answer tells; the task's status does, and the modal is sent once."""
    bench.rules(RULES)
    bench.options |= {"look_after_s": 0.0, "quiet_s": 0.1}
    bench.upstream.answer = answers(code(1, "window", "提交成功"), code(1, "window"))
    bench.upstream.tasks["window"] = {"id": "window", "status": "MODAL", "action": "ZOOM", "prompt": "p"}
    await bench.start()
    await bench.callback("single", **SINGLE)
    action, modal = await bench.until_states("accepted", "accepted")
    assert modal.kind == "modal"
    assert bench.upstream.received[1][1] == {"taskId": "window", "prompt": "p --zoom 1.8"}
    await bench.callback("window", status="IN_PROGRESS", action="ZOOM", buttons=[])
    await bench.until_quiet()
    assert len(bench.upstream.received) == 2
    assert action.kind == "action"


@pytest.mark.parametrize("words", ["任务已存在", "Task already exists", ""])
async def test_21_on_an_upscale_is_the_existing_task(bench: Any, words: str) -> None:
    """It is adopted: nothing is owed for it, and nothing will call; so it is asked about."""
    bench.options |= {"look_after_s": 0.0}
    bench.upstream.tasks["existing"] = {
        "id": "existing",
        "status": "SUCCESS",
        "action": "UPSCALE",
        "progress": "100%",
    }
    made = await pressed_once(bench, code(21, "existing", words))
    assert (made.state, made.task_ids) == ("existed", ("existing",))

    async def known() -> bool:
        return bool(await bench.events(task_id="existing", source="reconcile"))

    await bench.until(known)


async def test_22_rewritten_to_1_is_still_queued(bench: Any) -> None:
    """DMXAPI: code 1 although queued behind 67; only the words tell."""
    made = await pressed_once(bench, code(1, "child", "In queue, there are 67 tasks ahead"))
    assert (made.state, made.outcome) == ("accepted", "queued")


def test_23_deletes_a_waiting_window(start_sandbox: Any, start_server: Any, eventually: Any) -> None:
    """Plus: the action is repeated, the modal answered anew; in the end one zoom, paid once."""
    sandbox = start_sandbox("--speed", "30", "--seed", "18", "--faults", "queue-full=0.3")
    # With this seed the fourth submit, the modal, is the one that meets a full queue.
    first = '[[rules]]\nname = "first"\non = "task.succeeded"\nif = "task.is_grid and chain.depth == 0"\npress = "U1"\n'
    rules = RULES.replace("chain.depth == 0", "task.action == 'UPSCALE'") + first
    server = start_server(toml=f'{rules}[upstreams.main]\nurl = "{sandbox.url}"\nquiet_s = 1\n')
    made = server.submit(kind="imagine", prompt="a cat")

    def zoomed() -> Any:
        tasks = server.get(f"/api/chains/{made['chain_id']}")["tasks"]
        return [task for task in tasks if task["action"] == "ZOOM" and task["status"] == "SUCCESS"]

    assert len(eventually(zoomed)) == 1
    asked = [(entry["path"].rsplit("/")[-1], entry["code"]) for entry in sandbox.ledger()["submissions"]]
    assert ("modal", 23) in asked
    assert asked.count(("modal", 1)) + asked.count(("modal", 22)) == 1
    billed = sandbox.ledger()["billed"]
    assert (billed["imagine"], billed["action"], billed["modal"]) == (1, 1, 1)


# Refusals


@pytest.mark.parametrize(
    "told",
    [
        code(9, None, "提交失败，队列已满，请稍后重试"),
        code(23, None, "队列已满，请稍后尝试"),
        (429, {"description": "当前分组负载已饱和", "type": "upstream_error", "code": 30}),
        (400, {"description": "Queue full ", "type": "upstream_error", "code": 23}),
    ],
    ids=["trueai 9", "23", "new-api 429 with 30", "new-api 23 in a 400"],
)
async def test_9_and_429_are_a_full_queue(bench: Any, told: Any) -> None:
    """It waits, and is sent again, until it is taken."""
    made = await pressed_once(bench, told)
    assert (made.state, made.outcome, made.attempts) == ("waiting", "rejected:queue_full", 1)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (
            (200, {"success": False, "code": -1, "message": "state too long", "timestamp": 1}),
            "state too long",
        ),
        ((400, {"description": "prompt is banned ", "type": "upstream_error", "code": 24}), "banned"),
        ((200, {"code": "24", "description": "May contain sensitive words"}), "sensitive"),
        ((200, {"code": "system_curfew", "description": "closed at night"}), "closed at night"),
        ((200, {"success": True, "data": {"code": 24, "description": "nested refusal"}}), "nested refusal"),
    ],
    ids=[
        "200 with success false",
        "400 with a code",
        "code as a string",
        "code as a word",
        "nested under data",
    ],
)
async def test_a_refusal_in_whatever_envelope_is_final(bench: Any, told: Any, says: str) -> None:
    """And it says what was sent, and what came back."""
    made = await pressed_once(bench, told)
    assert (made.state, made.attempts) == ("rejected", 1)
    assert says in made.reason
    assert "/mj/submit/action" in made.reason
    assert "hooks/notify" not in made.reason


async def test_an_acceptance_nested_under_data_is_one(bench: Any) -> None:
    """The corporate wrapper of one relay."""
    made = await pressed_once(
        bench, (200, {"success": True, "data": {"code": 1, "result": 1320098173412546}})
    )
    assert (made.state, made.task_ids) == ("accepted", ("1320098173412546",))


# Answers that speak of several tasks, or of none


def test_pic_reader_all_gives_four_tasks(start_sandbox: Any, start_server: Any, eventually: Any) -> None:
    """trueai: "Imagine all" joins four ids with commas; all four belong to the chain."""
    sandbox = start_sandbox("--dialect", "trueai", "--speed", "30")
    server = start_server(
        toml=f"""
[[rules]]
name = "imagine-all"
on = "task.succeeded"
if = "task.action == 'DESCRIBE'"
press = "pic_reader_all"
[upstreams.main]
url = "{sandbox.url}"
dialect = "trueai"
"""
    )
    image = "data:image/png;base64,iVBORw0KGgo="
    made = server.submit(kind="describe", image=image)

    def drawn() -> bool:
        tasks = server.get(f"/api/chains/{made['chain_id']}")["tasks"]
        return [task["action"] for task in tasks if task["status"] == "SUCCESS"] == [
            "DESCRIBE",
            *["IMAGINE"] * 4,
        ]

    def press() -> Any:
        asked = server.get(f"/api/chains/{made['chain_id']}")["submissions"]
        (found,) = [one for one in asked if one["kind"] == "action"]
        return found

    eventually(drawn)
    eventually(
        lambda: press()["state"] == "accepted"
    )  # its tasks call by its path, and may be before the answer
    assert len(press()["task_ids"]) == 4
    assert sandbox.ledger()["billed"]["action"] == 4


@pytest.mark.parametrize(
    ("told", "state"),
    [(code(1, "grid"), "accepted"), (code(4, None, "不支持的动作"), "rejected")],
    ids=["trueai", "Plus"],
)
async def test_a_bookmark_makes_no_task(bench: Any, told: Any, state: str) -> None:
    """trueai answers with the parent's own id, Plus refuses: neither is a child, and it is not asked again."""
    made = await pressed_once(bench, told)
    assert (made.state, made.task_ids, made.attempts) == (state, (), 1)
    assert await bench.until(lambda: bench.events(task_id="grid"))


def test_a_child_born_finished_never_calls(start_sandbox: Any, start_server: Any, eventually: Any) -> None:
    """trueai completes U-presses of official accounts inside the submit: each child is fetched once."""
    sandbox = start_sandbox("--dialect", "trueai", "--speed", "30", "--faults", "silent")
    server = start_server(
        toml=f'{UPSCALE_ALL}\n[upstreams.main]\nurl = "{sandbox.url}"\ndialect = "trueai"\nlook_after_s = 0.2\n'
    )
    made = server.submit(kind="imagine", prompt="a cat")

    def upscales() -> bool:
        tasks = server.get(f"/api/chains/{made['chain_id']}")["tasks"]
        return [task["status"] for task in tasks if task["action"] == "UPSCALE"] == ["SUCCESS"] * 4

    eventually(upscales)
    children = [
        task["id"]
        for task in server.get(f"/api/chains/{made['chain_id']}")["tasks"]
        if task["action"] == "UPSCALE"
    ]
    for child in children:
        sources = [event["source"] for event in server.get(f"/api/events?task_id={child}")["events"]]
        assert sources.count("reconcile") == 1
        assert "callback" not in sources


# Swapped results


@pytest.mark.parametrize(("dialect", "swapped"), [("mj-plus", 0), ("trueai", 2)])
def test_concurrent_upscales_can_be_swapped(
    start_sandbox: Any, start_server: Any, eventually: Any, dialect: str, swapped: int
) -> None:
    """Pressed in turn where that happens, each shows what was pressed; else it is seen, and said in the event."""
    # Slow enough that of presses which leave together two run together, on a busy machine too.
    sandbox = start_sandbox("--dialect", dialect, "--speed", "3", "--concurrency", "2", "--faults", "swap")
    server = start_server(
        toml=f'{UPSCALE_ALL}\n[upstreams.main]\nurl = "{sandbox.url}"\ndialect = "{dialect}"\n'
    )
    made = server.submit(kind="imagine", prompt="a cat")

    def upscales() -> Any:
        tasks = server.get(f"/api/chains/{made['chain_id']}")["tasks"]
        found = [task for task in tasks if task["action"] == "UPSCALE" and task["status"] == "SUCCESS"]
        return found if len(found) == 4 else None

    wrong = 0
    for child in eventually(upscales):
        task = decode_task(sandbox.http.get(f"/mj/task/{child['id']}/fetch").content)
        wrong += task.is_swapped
        told = [event["detail"] for event in server.get(f"/api/events?task_id={child['id']}")["events"]]
        assert any("but another image was pressed" in detail for detail in told) == task.is_swapped
    assert wrong >= swapped
    assert (wrong > 0) == (swapped > 0)


# What is asked for twice, in other words


async def test_two_ways_to_say_one_press_are_one_press(bench: Any) -> None:
    """A simple change and a change are the same intent."""
    from dispatcher.policy.intent import key_of
    from midjourney.requests import SimpleChange

    change = Change(task_id="1", action="UPSCALE", index=2)
    assert key_of("main", SimpleChange(content="1 U2")) == key_of("main", change)
    assert key_of("main", change) != key_of("main", Action(task_id="1", custom_id="U2"))
    assert key_of("main", Imagine(prompt="a"), within="x") != key_of("main", Imagine(prompt="a"), within="y")
    del bench


# Payloads


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("", "NOT_START"),
        ("success", "SUCCESS"),
        ("succeed", "SUCCESS"),
        ("Finished", "SUCCESS"),
        ("failed", "FAILURE"),
        (5, "SUCCESS"),
        (4, "FAILURE"),
        (3, "IN_PROGRESS"),
        ("in_progress", "IN_PROGRESS"),
        ("TASK_STATUS_SUCCEED", "SUCCESS"),
        (None, "NOT_START"),
        ("SOMETHING_NEW", "SOMETHING_NEW"),
    ],
)
def test_statuses_come_in_many_spellings(said: Any, meant: str) -> None:
    """Empty, lower case, of other vocabularies, as trueai's old numbers; a new word stays as it is."""
    task = decode_task(json.dumps({"id": "1", "action": "IMAGINE", "status": said}).encode())
    assert task.status == meant


FOREIGN = [
    {"id": "v-1", "status": "succeed", "type": "video", "output": {"url": "https://x/v.mp4"}},
    {"id": "s-1", "status": "complete", "audio_url": "https://x/a.mp3"},
    {"task_id": "k-1", "task_status": "succeed"},
]


@pytest.mark.parametrize("payload", FOREIGN, ids=["Kling", "Suno", "Luma"])
def test_foreign_payloads_at_our_hook_are_kept_aside(start_server: Any, payload: Any) -> None:
    """Another product of the same relay posts to the hook: refused, and kept whole in quarantine."""
    server = start_server(HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9")
    body = json.dumps(payload).encode()
    assert server.http.post(server.hook, content=body).status_code == 422
    (kept,) = server.get("/api/quarantine")["quarantine"]
    assert kept["body"] == payload
    assert server.get("/api/tasks")["tasks"] == []


def test_a_videos_u1_is_no_upscale_of_a_grid() -> None:
    """`video_virtual_upscale` is labelled U1 too."""
    assert Button(custom_id=f"MJ::JOB::video_virtual_upscale::1::{UUID}", label="U1").kind == "video_upscale"


async def test_relays_that_tell_nothing_leave_the_image_number_to_us(bench: Any) -> None:
    """new-api keeps neither the description nor the message: the number is that of the button we pressed."""
    seen: list[int | None] = []

    @task_succeeded.connect
    def look(action: str, *, task: Any, chain: Any, **_: Any) -> None:
        if chain.depth == 0:
            chain.press("U3")
        else:
            seen.append(task.image_number)

    @submission_needs_modal.connect
    def never(action: str, **_: Any) -> None:
        raise AssertionError("no window was opened")

    bench.upstream.answer = answers(code(1, "child"))
    await bench.start()
    await bench.callback()
    await bench.until_states("accepted")
    await bench.callback("child", action="UPSCALE", buttons=[], description="提交成功")
    await bench.until(_has(seen))
    assert seen == [3]


def _has(seen: list[Any]) -> Any:
    async def ask() -> bool:
        return bool(seen)

    return ask
