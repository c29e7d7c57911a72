"""The requests that unchanged clients send are answered in the shapes that the real servers have.

Each client is named with its source in the page of the sandbox, docs/reference/sandbox.md.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.sandbox_http import CHAT_PLUGIN, PNG, fetched, finished, start

SUBMITS: dict[str, dict[str, Any]] = {
    "submit/imagine": {"prompt": "a cat", "base64Array": [], "notifyHook": "", "state": "", "botType": "MID_JOURNEY"},
    "submit/blend": {"base64Array": [PNG, PNG], "dimensions": "SQUARE"},
    "submit/describe": {"base64": PNG},
    "submit/shorten": {"prompt": "a very long prompt"},
    "submit/edits": {"prompt": "a hat", "image": PNG},
    "submit/edit": {"prompt": "a hat", "image": PNG},
    "submit/retexture": {"prompt": "wool", "image": PNG},
    "submit/video": {"prompt": "it runs", "image": PNG, "motion": "low"},
    "submit/show": {"jobId": "0ddb91a0-af46-4ae9-8e8e-c271074eb6e6", "accountFilter": {"instanceId": "1"}},
    "insight-face/swap": {"sourceBase64": PNG, "targetBase64": PNG},
}  # fmt: skip
PLUS = ("submit/imagine", "submit/blend", "submit/describe", "submit/shorten", "insight-face/swap")
SERVED = {
    "mj-plus": PLUS,
    "novicezk": ("submit/imagine", "submit/blend", "submit/describe"),
    "trueai": tuple(SUBMITS),
    "new-api": (*PLUS, "submit/edits", "submit/video"),
}
PREFIXES = {
    "mj-plus": ("/mj",),
    "novicezk": ("/mj",),
    "trueai": ("/mj", "/mj-fast/mj", "/mj-turbo/mj", "/mj-relax/mj"),
    "new-api": ("/mj", "/mj-fast/mj", "/fast/mj", "/any-word/mj"),
}


def press(client: httpx.Client, task: Any, label: str, **more: object) -> Any:
    custom_id = next(button["customId"] for button in task["buttons"] if button["label"] == label)
    body = {"taskId": task["id"], "customId": custom_id, **more}
    return client.post("/mj/submit/action", json=body).json()


@pytest.mark.parametrize("dialect", SERVED)
def test_every_submit_of_a_dialect_gives_a_task_under_each_prefix(
    start_sandbox: Any, eventually: Any, dialect: str
) -> None:
    """Code 1, a string of 16 digits, and a task that succeeds, whatever the prefix; 404 where the server has no such path."""
    client = start(start_sandbox, dialect)
    made = []
    for path, body in SUBMITS.items():
        for prefix in PREFIXES[dialect]:
            answer = client.post(f"{prefix}/{path}", json=body)
            if path not in SERVED[dialect]:
                assert answer.status_code == 404
                continue
            told = answer.json()
            assert (answer.status_code, told["code"], told["description"]) == (200, 1, "Submit success")
            assert len(told["result"]) == 16
            assert told["result"].isdigit()
            made.append(told["result"])
    tasks = [finished(client, eventually, one) for one in made]
    assert {task["status"] for task in tasks} == {"SUCCESS"}
    assert all(set(CHAT_PLUGIN) <= task.keys() for task in tasks)


def test_a_job_is_shown_by_the_task_that_has_it(start_sandbox: Any, eventually: Any) -> None:
    """trueai: by its uuid or its image's address; a job that no task has needs the account that is to ask for it."""
    client = start(start_sandbox, "trueai")
    made = client.post("/mj/submit/imagine", json={"prompt": "a cat"}).json()["result"]
    task = finished(client, eventually, made)
    for job in (task["jobId"], task["imageUrl"]):
        assert client.post("/mj/submit/show", json={"jobId": job}).json()["result"] == made
    unknown = client.post("/mj/submit/show", json={"jobId": SUBMITS["submit/show"]["jobId"]}).json()
    assert (unknown["code"], unknown["description"]) == (4, "show 命令必须指定实例")
    assert client.post("/mj/submit/show", json={"jobId": "x"}).json()["description"] == "job id 格式错误"
    assert client.get("/sandbox/ledger").json()["billed"]["show"] == 0


def test_a_video_swap_is_a_form(start_sandbox: Any, eventually: Any) -> None:
    """trueai takes it in no other way, and refuses one without a face or a video."""
    client = start(start_sandbox, "trueai")
    video = {"TargetFile": ("a.mp4", b"\0\0\0\x18ftypmp42", "video/mp4")}
    path = "/mj/insight-face/video-swap"
    assert (
        client.post(path, json={"sourceBase64": PNG, "targetUrl": "https://a.example/a.mp4"}).status_code
        == 415
    )
    assert client.post(path, files=video).json()["description"] == "人脸图片不能为空"
    form = {"sourceBase64": PNG, "accountFilter.modes[0]": "FAST", "state": "mine"}
    assert client.post(path, data=form, files={"x": b""}).json()["description"] == "目标视频不能为空"
    told = client.post(path, data=form, files={"targetFile": video["TargetFile"]}).json()
    task = finished(client, eventually, told["result"])
    assert (task["status"], task["action"], task["state"]) == ("SUCCESS", "SWAP_VIDEO_FACE", "mine")
    assert client.get("/sandbox/ledger").json()["billed"]["video-swap"] == 1


@pytest.mark.parametrize(("word", "mode"), [("mj-relax/", "RELAX"), ("mj-turbo/", "TURBO"), ("", "FAST")])
def test_a_prefix_is_the_mode_of_its_tasks(start_sandbox: Any, eventually: Any, word: str, mode: str) -> None:
    """trueai shows it in the task, and Midjourney in its message; the task itself is fetched under any prefix."""
    client = start(start_sandbox, "trueai")
    made = client.post(f"/{word}mj/submit/imagine", json={"prompt": "a cat"}).json()["result"]
    task = finished(client, eventually, made)
    assert task["mode"] == mode
    assert task["properties"]["messageContent"].endswith(f"({mode.lower()})")
    assert client.get(f"/mj-fast/mj/task/{made}/fetch").json()["id"] == made


def test_what_is_no_submit_result_has_no_properties(start_sandbox: Any) -> None:
    """Plus: face swaps and uploads are answered with a Message; new-api writes that of a swap again; trueai knows one form."""
    shapes = {}
    for dialect in ("mj-plus", "new-api", "trueai"):
        client = start(start_sandbox, dialect)
        swap = client.post("/mj/insight-face/swap", json=SUBMITS["insight-face/swap"]).json()
        upload = client.post("/mj/submit/upload-discord-images", json={"base64Array": [PNG, PNG]}).json()
        shapes[dialect] = [list(swap), list(upload)]
        assert [client.get(link).status_code for link in upload["result"]] == [200, 200]
    message, result = {"code", "description", "result"}, {"code", "description", "result", "properties"}
    assert [set(keys) for keys in shapes["mj-plus"]] == [message, message]
    assert [set(keys) for keys in shapes["new-api"]] == [result, message]
    assert [set(keys) for keys in shapes["trueai"]] == [result, result]


@pytest.mark.parametrize("dialect", ["mj-plus", "novicezk", "new-api"])
def test_the_chat_bot_and_the_node_press_by_text(start_sandbox: Any, eventually: Any, dialect: str) -> None:
    """`simple-change` and `change`: U, V and R of wechat-midjourney, the ComfyUI node, and the chat plugin."""
    client = start(start_sandbox, dialect)
    grid = finished(
        client, eventually, client.post("/mj/submit/imagine", json={"prompt": "a cat"}).json()["result"]
    )
    for content in ("U1", "V2", "R"):
        told = client.post(
            "/mj/submit/simple-change", json={"content": f"{grid['id']} {content}", "state": "a:b"}
        ).json()
        assert told["code"] == 1
        assert finished(client, eventually, told["result"])["state"] == "a:b"
    told = client.post(
        "/mj/submit/change", json={"taskId": grid["id"], "action": "UPSCALE", "index": 4}
    ).json()
    assert finished(client, eventually, told["result"])["action"] == "UPSCALE"


@pytest.mark.parametrize("dialect", ["mj-plus", "trueai"])
def test_the_web_ui_zooms_and_asks_for_the_seed(start_sandbox: Any, eventually: Any, dialect: str) -> None:
    """`action`, 21 with `finalPrompt`, `modal`, and `image-seed` of what it made."""
    client = start(start_sandbox, dialect)
    grid = finished(
        client, eventually, client.post("/mj/submit/imagine", json={"prompt": "a cat"}).json()["result"]
    )
    single = finished(client, eventually, press(client, grid, "U1", state="", notifyHook="")["result"])
    window = press(client, single, "Custom Zoom")
    assert (window["code"], window["properties"]["finalPrompt"]) == (21, "a cat")
    answered = client.post(
        "/mj/submit/modal", json={"taskId": window["result"], "prompt": "a cat --zoom 2"}
    ).json()
    zoomed = finished(client, eventually, answered["result"])
    seed = client.get(f"/mj/task/{zoomed['id']}/image-seed").json()
    assert (seed["code"], seed["description"], seed["result"].isdigit()) == (1, "成功", True)


def test_a_hook_that_is_empty_is_none(start_sandbox: Any) -> None:
    """The web UI sends "" (novicezk and Plus: `isBlank`)."""
    client = start(start_sandbox, "mj-plus")
    made = client.post("/mj/submit/imagine", json=SUBMITS["submit/imagine"]).json()["result"]
    task = fetched(client, made)
    assert (task["properties"]["notifyHook"], task["state"]) == (None, "")


def test_new_api_knows_its_own_tasks_only(start_sandbox: Any) -> None:
    """Presses and modals of others: HTTP 400, code 4, task_not_found (`relay/relay-mj.go`)."""
    client = start(start_sandbox, "new-api")
    refused = {"description": "task_not_found ", "type": "upstream_error", "code": 4}
    for path, body in (
        ("action", {"taskId": "nobody", "customId": "MJ::JOB::upsample::1::x"}),
        ("change", {"taskId": "nobody", "action": "UPSCALE", "index": 1}),
        ("simple-change", {"content": "nobody U1"}),
        ("modal", {"taskId": "nobody"}),
    ):
        answer = client.post(f"/mj/submit/{path}", json=body)
        assert (answer.status_code, answer.json()) == (400, refused)
