"""The manners of upstreams that lie, as faults: what is told is wrong, late, short or told again, and what is asked is true."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from midjourney.sandbox.forging import WORDS
from tests.support.hook import Hook

SPEED = ("--speed", "50", "--seed", "2")


def imagine(client: httpx.Client, hook: Hook, *, state: str = "mine") -> str:
    """The id that the submit answers."""
    body = {"prompt": "a cat", "notifyHook": hook.url, "state": state}
    return str(client.post("/mj/submit/imagine", json=body).json()["result"])


def press(client: httpx.Client, hook: Hook, task: Any, place: int = 0) -> Any:
    body = {"taskId": task["id"], "customId": task["buttons"][place]["customId"], "notifyHook": hook.url}
    return client.post("/mj/submit/action", json=body).json()


def fetch(client: httpx.Client, task_id: str) -> Any:
    return client.get(f"/mj/task/{task_id}/fetch").json()


def succeeded(client: httpx.Client, eventually: Any, task_id: str) -> Any:
    """The task as a fetch tells it, once it has ended well."""
    return eventually(lambda: (task := fetch(client, task_id))["status"] == "SUCCESS" and task)


def test_forge(start_sandbox: Any, hook: Hook, eventually: Any) -> None:
    """Each lie is told of the task itself and of one that never was; a fetch tells the truth."""
    sandbox = start_sandbox(*SPEED, "--faults", "forge")
    task_id = imagine(sandbox.http, hook)
    truth = succeeded(sandbox.http, eventually, task_id)
    eventually(lambda: len(hook.bodies) == 33)
    own, invented = [
        [body for body in hook.bodies if (body["id"] == task_id) is real] for real in (True, False)
    ]
    assert (len(own), len(invented)) == (22, 11)
    assert all(fetch_unknown(sandbox.http, body["id"]) for body in invented)
    for bodies in (own, invented):
        assert {"FAILURE", "CANCEL"} <= {body["status"] for body in bodies}
        lies = [body for body in bodies if body["status"] == "SUCCESS"]
        assert WORDS in {body["prompt"] for body in lies}
        assert "DESCRIBE" in {body["action"] for body in lies}
        assert WORDS in {body["state"] for body in lies}
        assert WORDS in {body["properties"].get("finalPrompt") for body in lies}
        shown = {button["customId"] for body in lies for button in body["buttons"]}
        assert shown - {button["customId"] for button in truth["buttons"]}
    assert WORDS not in str(truth)
    assert (truth["action"], truth["state"]) == ("IMAGINE", "mine")


def fetch_unknown(client: httpx.Client, task_id: str) -> bool:
    return client.get(f"/mj/task/{task_id}/fetch").content == b""


def test_two_ids(start_sandbox: Any, hook: Hook, eventually: Any) -> None:
    """One picture, two ids, both good for fetch, list and press; a press answers with a relay's id as well."""
    sandbox = start_sandbox(*SPEED, "--faults", "two-ids")
    relays = imagine(sandbox.http, hook)
    task = succeeded(sandbox.http, eventually, relays)
    eventually(lambda: ("SUCCESS", "100%") in hook.statuses())
    (behind,) = {body["id"] for body in hook.bodies}
    assert behind != relays
    other = fetch(sandbox.http, behind)
    assert (task["id"], other["id"]) == (relays, behind)
    assert (task["buttons"], task["state"]) == (other["buttons"], other["state"])
    listed = sandbox.http.post("/mj/task/list-by-condition", json={"ids": [relays, behind]}).json()
    assert {one["id"] for one in listed} == {relays, behind}
    pressed = [press(sandbox.http, hook, one, place) for place, one in enumerate((task, other))]
    assert [answer["code"] for answer in pressed] == [1, 1]
    upscales = [succeeded(sandbox.http, eventually, answer["result"]) for answer in pressed]
    eventually(lambda: len({body["id"] for body in hook.bodies}) == 3)
    assert not {body["id"] for body in hook.bodies} & {one["id"] for one in upscales}
    assert sandbox.ledger()["billed"]["action"] == 2


def test_two_ids_of_a_window(start_sandbox: Any, hook: Hook, eventually: Any) -> None:
    """The window is answered under the relay's id, and cancelled under it."""
    sandbox = start_sandbox(*SPEED, "--faults", "two-ids")
    grid = succeeded(sandbox.http, eventually, imagine(sandbox.http, hook))
    upscale = succeeded(sandbox.http, eventually, press(sandbox.http, hook, grid)["result"])
    place = [button["label"] for button in upscale["buttons"]].index("Custom Zoom")
    windows = [press(sandbox.http, hook, upscale, place) for _ in range(2)]
    assert [window["code"] for window in windows] == [21, 21]
    answer = sandbox.http.post(
        "/mj/submit/modal", json={"taskId": windows[0]["result"], "prompt": "a dog"}
    ).json()
    assert (answer["code"], answer["result"]) == (1, windows[0]["result"])
    assert succeeded(sandbox.http, eventually, answer["result"])["prompt"] == "a dog"
    assert sandbox.http.post(f"/mj/task/{windows[1]['result']}/cancel").json()["code"] == 1


def test_late_buttons(start_sandbox: Any, hook: Hook, eventually: Any) -> None:
    """SUCCESS without buttons and finalPrompt; then, in a fetch and in a second callback, with them."""
    sandbox = start_sandbox(*SPEED, "--faults", "late-buttons")
    task_id = imagine(sandbox.http, hook)
    eventually(lambda: hook.statuses().count(("SUCCESS", "100%")) == 2)
    early, late = [body for body in hook.bodies if body["status"] == "SUCCESS"]
    assert (early["buttons"], early["properties"].get("finalPrompt")) == ([], None)
    assert (len(late["buttons"]), late["properties"]["finalPrompt"]) == (9, "a cat")
    told = fetch(sandbox.http, task_id)
    assert (told["buttons"], told["properties"]) == (late["buttons"], late["properties"])


def test_late_buttons_cannot_be_pressed_before(start_sandbox: Any, hook: Hook, eventually: Any) -> None:
    """Code 3: the task does not offer it yet, to a fetch either."""
    fast, slow = [
        start_sandbox("--seed", "2", "--speed", speed, "--faults", "late-buttons") for speed in ("100", "2")
    ]
    task_id = imagine(fast.http, hook)
    late = eventually(lambda: (task := fetch(fast.http, task_id))["buttons"] and task)
    assert imagine(slow.http, hook) == task_id  # the same seed
    early = succeeded(slow.http, eventually, task_id)
    assert early["buttons"] == []
    assert press(slow.http, hook, late)["code"] == 3
    assert slow.ledger()["billed"]["action"] == 0


def test_false_failure(start_sandbox: Any, hook: Hook, eventually: Any) -> None:
    """FAILURE is told while the task runs on, as a fetch says; the true SUCCESS follows."""
    sandbox = start_sandbox("--seed", "2", "--speed", "5", "--faults", "false-failure")
    task_id = imagine(sandbox.http, hook)
    eventually(lambda: ("FAILURE", "") in hook.statuses())
    assert fetch(sandbox.http, task_id)["status"] == "IN_PROGRESS"
    eventually(lambda: ("SUCCESS", "100%") in hook.statuses())
    failed = next(body for body in hook.bodies if body["status"] == "FAILURE")
    assert (failed["id"], failed["failReason"], failed["buttons"]) == (task_id, "task timed out", [])
    assert fetch(sandbox.http, task_id)["status"] == "SUCCESS"


@pytest.mark.parametrize(("faults", "most"), [("short-batch", 5), ("", 7)])
def test_short_batch(start_sandbox: Any, hook: Hook, faults: str, most: int) -> None:
    """Five of the seven that were asked for, all of which a fetch knows."""
    sandbox = start_sandbox(*SPEED, "--faults", faults)
    ids = [imagine(sandbox.http, hook) for _ in range(7)]
    listed = sandbox.http.post("/mj/task/list-by-condition", json={"ids": ids}).json()
    assert len({task["id"] for task in listed}) == most
    assert all(fetch(sandbox.http, task_id)["id"] == task_id for task_id in ids)


def test_renotify(start_sandbox: Any, hook: Hook, eventually: Any) -> None:
    """At a restart every finished task is told again: pressed buttons in style 3, and the children in the list."""
    sandbox = start_sandbox(*SPEED, "--faults", "renotify")
    grid = succeeded(sandbox.http, eventually, imagine(sandbox.http, hook))
    child = succeeded(sandbox.http, eventually, press(sandbox.http, hook, grid)["result"])
    before = 14  # eleven of the grid, three of the upscale
    eventually(lambda: len(hook.bodies) == before)
    assert sandbox.http.post("/sandbox/restart").json() == {"status": "restarted"}
    again = eventually(lambda: len(hook.bodies) == before + 2 and hook.bodies[before:])
    assert {body["id"]: body["status"] for body in again} == {grid["id"]: "SUCCESS", child["id"]: "SUCCESS"}
    told = next(body for body in again if body["id"] == grid["id"])
    assert [button["style"] for button in told["buttons"]][:2] == [3, 2]
    assert {task["id"] for task in sandbox.http.get("/mj/task/list").json()} == {grid["id"], child["id"]}


def test_a_restart_without_the_fault_tells_nothing(start_sandbox: Any, hook: Hook, eventually: Any) -> None:
    """As before: what was queued is forgotten, and that is all. A task that runs afterwards is told as always."""
    sandbox = start_sandbox(*SPEED)
    succeeded(sandbox.http, eventually, imagine(sandbox.http, hook))
    before = 11
    eventually(lambda: len(hook.bodies) == before)
    sandbox.http.post("/sandbox/restart")
    other = imagine(sandbox.http, hook)
    eventually(lambda: (other, "SUCCESS") in [(body["id"], body["status"]) for body in hook.bodies])
    assert {body["id"] for body in hook.bodies[before:]} == {other}
