"""The sandbox behaves as the real servers do, the nasty parts included."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import httpx
import pytest

from midjourney.sandbox.app import SandboxOptions, create_app
from midjourney.sandbox.engine import Engine, Order


@pytest.fixture
def client(start_sandbox: Any) -> httpx.Client:
    """A sandbox at two hundred times the pace, seeded."""
    made: httpx.Client = start_sandbox("--seed", "1", "--speed", "200").http
    return made


def finished(client: httpx.Client, eventually: Any, task_id: str) -> Any:
    def ask() -> Any:
        task = client.get(f"/mj/task/{task_id}/fetch").json()
        return task if task["status"] in ("SUCCESS", "FAILURE", "CANCEL") else None

    return eventually(ask)


def grid(client: httpx.Client, eventually: Any) -> Any:
    made = client.post("/mj/submit/imagine", json={"prompt": "a cat"}).json()
    return finished(client, eventually, made["result"])


def press(client: httpx.Client, task: Any, prefix: str) -> Any:
    custom_id = next(
        button["customId"] for button in task["buttons"] if button["customId"].startswith(prefix)
    )
    return client.post("/mj/submit/action", json={"taskId": task["id"], "customId": custom_id}).json()


def test_a_grid_has_its_buttons_and_a_picture(client: httpx.Client, eventually: Any) -> None:
    """Nine buttons at SUCCESS; the picture is a PNG that decompresses to its size."""
    task = grid(client, eventually)
    assert [button["label"] for button in task["buttons"]] == [
        "U1",
        "U2",
        "U3",
        "U4",
        "",
        "V1",
        "V2",
        "V3",
        "V4",
    ]
    picture = client.get(task["imageUrl"]).content
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    assert (width, height) == (task["imageWidth"], task["imageHeight"])
    start = picture.index(b"IDAT") + 4
    (length,) = struct.unpack(">I", picture[start - 8 : start - 4])
    assert len(zlib.decompress(picture[start : start + length])) == height * (width + 1)


def test_an_upscale_shows_its_number(client: httpx.Client, eventually: Any) -> None:
    """UPSCALE, "Image #3", the parent in the description, buttons of a single picture."""
    task = grid(client, eventually)
    upscale = finished(client, eventually, press(client, task, "MJ::JOB::upsample::3")["result"])
    assert (upscale["action"], upscale["description"]) == ("UPSCALE", f"/up {task['id']} U3")
    assert "Image #3" in upscale["properties"]["messageContent"]
    assert "Custom Zoom" in [button["label"] for button in upscale["buttons"]]


def test_a_window_waits_and_runs_under_its_own_id(client: httpx.Client, eventually: Any) -> None:
    """21 with a new id in MODAL; the modal takes it up; a second one is refused."""
    task = grid(client, eventually)
    upscale = finished(client, eventually, press(client, task, "MJ::JOB::upsample::1")["result"])
    window = press(client, upscale, "MJ::CustomZoom")
    assert (window["code"], window["properties"]["finalPrompt"]) == (21, "a cat")
    assert client.get(f"/mj/task/{window['result']}/fetch").json()["status"] == "MODAL"
    body = {"taskId": window["result"], "prompt": "a cat --zoom 1.8"}
    assert client.post("/mj/submit/modal", json=body).json()["result"] == window["result"]
    assert finished(client, eventually, window["result"])["prompt"] == "a cat --zoom 1.8"
    assert client.post("/mj/submit/modal", json=body).json()["code"] == 4
    region = press(client, upscale, "MJ::Inpaint")
    refused = client.post("/mj/submit/modal", json={"taskId": region["result"], "prompt": "x"}).json()
    assert (refused["code"], refused["description"]) == (4, "蒙版base64不能为空")


def test_the_same_upscale_again(client: httpx.Client, eventually: Any) -> None:
    """By action: accepted, billed, and never heard of; by change: 21 with the existing one."""
    task = grid(client, eventually)
    first = press(client, task, "MJ::JOB::upsample::2")["result"]
    finished(client, eventually, first)
    again = press(client, task, "MJ::JOB::upsample::2")
    assert again["code"] == 1
    assert client.get(f"/mj/task/{again['result']}/fetch").json()["status"] == "SUBMITTED"
    change = {"taskId": task["id"], "action": "UPSCALE", "index": 2}
    existed = client.post("/mj/submit/change", json=change).json()
    assert (existed["code"], existed["result"], existed["properties"]["status"]) == (21, first, "SUCCESS")
    simple = client.post("/mj/submit/simple-change", json={"content": f"{task['id']} V1"}).json()
    assert simple["code"] in (1, 22)
    assert client.get("/sandbox/ledger").json()["billed"]["action"] == 2


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("imagine", {"prompt": " "}, 4),
        ("imagine", {"prompt": "a nude"}, 24),
        ("action", {"taskId": "nobody", "customId": "x"}, 3),
        ("action", {}, 4),
        ("modal", {"taskId": "nobody"}, 3),
        ("change", {"taskId": "nobody", "action": "UPSCALE", "index": 1}, 3),
        ("change", {"taskId": "x", "action": "UPSCALE", "index": 9}, 4),
        ("simple-change", {"content": "nonsense"}, 4),
        ("blend", {"base64Array": ["a"]}, 4),
        ("describe", {}, 4),
        ("describe", {"base64": "data:x"}, 1),
        ("shorten", {"prompt": "a long prompt"}, 1),
        ("blend", {"base64Array": ["a", "b"]}, 1),
    ],
)
def test_every_submit_is_answered_with_a_code(client: httpx.Client, path: str, body: Any, code: int) -> None:
    """Always HTTP 200 (novicezk, Plus)."""
    answer = client.post(f"/mj/submit/{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (200, code)


def test_a_full_queue_is_23_and_takes_a_window_with_it(eventually: Any) -> None:
    """One place, no queue: 23; and the waiting MODAL task is gone (Plus 3.7.5)."""
    engine = Engine(seed=1, now_ms=0, speed=1.0, concurrency=1, queue=1)
    order = Order(action="IMAGINE", work="imagine", prompt="a cat", description="", base_url="http://x")
    first = engine.submit("imagine", order, 0)
    for now_ms in range(0, 6100, 100):
        engine.advance(now_ms)
    grid = engine.jobs[first.result or ""].task
    single = engine.press(grid.id, grid.buttons[0].custom_id, {}, 6100).result or ""
    for now_ms in range(6100, 7000, 100):
        engine.advance(now_ms)
    zoom = next(one for one in engine.jobs[single].task.buttons if one.label == "Custom Zoom")
    window = engine.press(single, zoom.custom_id, {}, 7000).result or ""
    codes = [engine.submit("imagine", order, 7000).code for _ in range(3)]
    assert codes == [1, 22, 23]
    assert engine.answer_window(window, "x", "", 7000).code == 23
    assert window not in engine.jobs
    assert engine.ledger.running_max == 1


def test_the_same_seed_gives_the_same_ids() -> None:
    """And no seed gives new ones at every start."""
    order = Order(action="IMAGINE", work="imagine", prompt="a cat", description="", base_url="")

    def ids(seed: int | None, now_ms: int) -> list[str | None]:
        engine = Engine(seed=seed, now_ms=now_ms, speed=1.0, concurrency=3, queue=10)
        return [engine.submit("imagine", order, now_ms).result for _ in range(3)]

    assert ids(7, 1_700_000_000_001) == ids(7, 1_800_000_000_000)
    assert not set(ids(None, 1_700_000_000_001)) & set(ids(None, 1_700_000_000_002))


def test_a_secret_is_asked_for(start_sandbox: Any) -> None:
    """401 with an empty body; any of the three headers lets in."""
    client = start_sandbox("--secret", "s").http
    refused = client.post("/mj/submit/imagine", json={"prompt": "x"})
    assert (refused.status_code, refused.content) == (401, b"")
    for headers in ({"mj-api-secret": "s"}, {"authorization": "Bearer s"}, {"authorization": "s"}):
        assert client.get("/mj/task/list", headers=headers).status_code == 200


def test_the_rest_of_the_interface(client: httpx.Client, eventually: Any) -> None:
    """Unknown ids, lists, seeds, cancelling, failing, what is no JSON."""
    assert client.get("/mj/task/nobody/fetch").content == b""
    task = grid(client, eventually)
    listed = client.post("/mj/task/list-by-condition", json={"ids": [task["id"], "nobody"]}).json()
    assert [one["id"] for one in listed] == [task["id"]]
    assert client.get(f"/mj/task/{task['id']}/image-seed").json()["result"].isdigit()
    assert client.get("/mj/task/nobody/image-seed").json()["code"] == 4
    failing = client.post("/mj/submit/imagine", json={"prompt": "x --fail"}).json()["result"]
    assert "Invalid parameter" in finished(client, eventually, failing)["failReason"]
    assert client.post("/mj/submit/imagine", content=b"{").status_code == 400
    assert client.post("/mj/submit/dance", json={}).status_code == 404
    assert client.get("/mj/image/nothing.png").status_code == 404
    cancelled = client.post("/mj/submit/imagine", json={"prompt": "y"}).json()["result"]
    assert client.post(f"/mj/task/{cancelled}/cancel").json()["code"] in (1, 4)
    assert client.post("/mj/task/nobody/cancel").json()["code"] == 3
    assert client.get("/sandbox/health").json() == {"status": "ok"}


def test_an_unknown_fault_names_the_nearest() -> None:
    """At start."""
    with pytest.raises(ValueError, match="duplicate"):
        create_app(SandboxOptions(faults="duplicat"))
