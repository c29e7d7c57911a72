"""The sandbox behaves as the real servers do, the nasty parts included."""

from __future__ import annotations

import struct
from typing import Any

import httpx
import pytest

from midjourney.sandbox.app import SandboxOptions, create_app
from tests.support.sandbox_account import Account

PNG = "data:image/png;base64,iVBORw0KGgo="


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
    """By action: accepted and billed, and given up when Midjourney has not responded for five minutes (Plus 3.7.5)."""
    task = grid(client, eventually)
    finished(client, eventually, press(client, task, "MJ::JOB::upsample::2")["result"])
    again = press(client, task, "MJ::JOB::upsample::2")
    assert again["code"] == 1
    given_up = finished(client, eventually, again["result"])
    assert (given_up["status"], given_up["failReason"]) == ("FAILURE", "任务超时")
    assert client.get("/sandbox/ledger").json()["billed"]["action"] == 2


def test_the_same_upscale_again_by_change(start_sandbox: Any, eventually: Any) -> None:
    """novicezk up to March 2024: 21 with the existing task."""
    client = start_sandbox("--seed", "1", "--speed", "200", "--dialect", "mj-proxy-2").http
    made = client.post("/mj/submit/imagine", json={"prompt": "a cat"}).json()["result"]
    finished(client, eventually, made)
    change = {"taskId": made, "action": "UPSCALE", "index": 2}
    first = client.post("/mj/submit/change", json=change).json()["result"]
    finished(client, eventually, first)
    existed = client.post("/mj/submit/change", json=change).json()
    assert (existed["code"], existed["result"], existed["properties"]["status"]) == (21, first, "SUCCESS")
    simple = client.post("/mj/submit/simple-change", json={"content": f"{made} V1"}).json()
    assert simple["code"] in (1, 22)


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
        ("describe", {"base64": "data:image/png;base64,x"}, 4),
        ("describe", {"base64": PNG}, 1),
        ("shorten", {"prompt": "a long prompt"}, 1),
        ("blend", {"base64Array": [PNG, PNG]}, 1),
    ],
)
def test_every_submit_is_answered_with_a_code(client: httpx.Client, path: str, body: Any, code: int) -> None:
    """Always HTTP 200 (novicezk, Plus)."""
    answer = client.post(f"/mj/submit/{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (200, code)


def test_a_full_queue_is_23_and_takes_a_window_with_it() -> None:
    """One place, one that waits: 23; and the waiting MODAL task is gone (Plus 3.7.5)."""
    account = Account()
    first = account.submit("imagine", prompt="a cat")
    account.let_pass(6100)
    single = account.press(first.result, "U1").result
    account.let_pass(1000)
    window = account.press(single, "Custom Zoom").result
    assert [account.submit("imagine", prompt="a cat").code for _ in range(3)] == [1, 1, 23]
    assert account.submit("modal", task_id=window, prompt="x").code == 23
    assert window not in account.engine.jobs
    assert account.engine.ledger.running_max == 1


def test_the_same_seed_gives_the_same_ids() -> None:
    """And no seed gives new ones at every start."""

    def ids(seed: int | None, now_ms: int) -> list[Any]:
        account = Account(seed=seed, now_ms=now_ms, places=3, queue=10)
        return [account.submit("imagine", prompt="a cat").result for _ in range(3)]

    assert ids(7, 1_700_000_000_001) == ids(7, 1_800_000_000_000)
    assert not set(ids(None, 1_700_000_000_001)) & set(ids(None, 1_700_000_000_002))


VERSIONS = {
    "a --v 4": ("upsample_light", {"Make"}),
    "a --v 5": ("upsample_v5_2x", {"Upscale (2x)", "Upscale (4x)"}),
    "a --v 5.2": ("upsample_v5_4x", {"Upscale (4x)", "Vary (Region)", "Custom Zoom"}),
    "a --v 6": ("upsample_v6_2x_subtle", {"Upscale (Subtle)", "Custom Zoom"}),
    "a": ("upsample_v6r1_2x_creative", {"Upscale (Creative)", "Custom Zoom"}),
    "a --v 7": ("upsample_v7_2x_subtle", {"Upscale (Subtle)", "Animate (High motion)"}),
    "a --niji 7": ("upsample_v7_2x_subtle", {"Custom Zoom"}),
    "a --v 8": ("low_variation", {"Vary (Region)", "Animate (Low motion)"}),
}


@pytest.mark.parametrize("prompt", VERSIONS)
def test_the_buttons_of_a_single_image_follow_the_version(prompt: str) -> None:
    """Section e of the protocol notes; 8 has neither upscalers, zoom nor pan."""
    account = Account(places=3)
    made = account.submit("imagine", prompt=prompt).result
    account.let_pass(6100)
    single = account.press(made, "U1").result
    account.let_pass(1000)
    assert isinstance(single, str)
    buttons = account.engine.jobs[single].task.buttons
    verb, labels = VERSIONS[prompt]
    assert any(f"::{verb}::" in button.custom_id for button in buttons)
    labels = labels - {"Make"}
    assert labels <= {button.label for button in buttons}
    if prompt.endswith("--v 8"):
        assert not [button for button in buttons if "upsample" in button.custom_id or "Zoom" in button.label]


AUTH = {
    "mj-plus": ({"mj-api-secret"}, 401, b""),
    "novicezk": ({"mj-api-secret"}, 401, b""),
    "mj-proxy-2": ({"mj-api-secret", "bearer"}, 401, b""),
    "trueai": ({"mj-api-secret", "raw"}, 401, b"Authorization header missing."),
    "new-api": ({"mj-api-secret", "bearer", "raw"}, 401, b'{"error"'),
    "147ai": ({"raw"}, 401, b'{"error"'),
    "v1-relay": ({"bearer"}, 401, b'{"error"'),
    "wenwen": ({"raw"}, 401, b'{"error"'),
}


@pytest.mark.parametrize("dialect", AUTH)
def test_a_secret_is_asked_for_in_the_dialects_way(start_sandbox: Any, dialect: str) -> None:
    """Which headers let in, and what everybody else is told."""
    accepted, status, start = AUTH[dialect]
    client = start_sandbox("--secret", "s", "--dialect", dialect).http
    path = ("/v1" if dialect == "v1-relay" else "") + "/mj/task/nobody/fetch"
    refused = client.get(path)
    assert (refused.status_code, refused.content[: len(start)]) == (status, start)
    ways = {
        "mj-api-secret": ("mj-api-secret", "s"),
        "bearer": ("authorization", "Bearer s"),
        "raw": ("authorization", "s"),
    }
    let_in = {
        way
        for way, header in ways.items()
        if client.get(path, headers=[header]).status_code not in (401, 403)
    }
    assert let_in == accepted


def test_the_rest_of_the_interface(client: httpx.Client, eventually: Any) -> None:
    """Unknown ids, lists, seeds, cancelling, failing, what is no JSON."""
    assert client.get("/mj/task/nobody/fetch").content == b""
    task = grid(client, eventually)
    listed = client.post("/mj/task/list-by-condition", json={"ids": [task["id"], "nobody"]}).json()
    assert [one["id"] for one in listed] == [task["id"]]
    assert client.get(f"/mj/task/{task['id']}/image-seed").json()["result"].isdigit()
    assert client.get("/mj/task/nobody/image-seed").json()["code"] == 3
    failing = client.post("/mj/submit/imagine", json={"prompt": "x --fail"}).json()["result"]
    assert "Invalid parameter" in finished(client, eventually, failing)["failReason"]
    assert client.post("/mj/submit/imagine", content=b"{").status_code == 400
    assert client.post("/mj/submit/dance", json={}).status_code == 404
    assert client.get("/mj/image/nothing.png").status_code == 404
    cancelled = client.post("/mj/submit/imagine", json={"prompt": "y"}).json()["result"]
    assert client.post(f"/mj/task/{cancelled}/cancel").json()["code"] in (1, 4)
    assert client.post("/mj/task/nobody/cancel").json()["code"] == 3
    assert client.get("/sandbox/health").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"faults": "duplicat"}, "duplicate"),
        ({"faults": "drop=2"}, "from 0 to 1"),
        ({"faults": "drop=often"}, "from 0 to 1"),
        ({"dialect": "wenwn"}, "wenwen"),
    ],
)
def test_a_mistake_is_told_at_start(options: dict[str, str], named: str) -> None:
    """With the nearest known name."""
    with pytest.raises(ValueError, match=named):
        create_app(SandboxOptions(**options))  # type: ignore[arg-type]
