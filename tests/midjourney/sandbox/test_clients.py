"""The requests that unchanged clients send are answered in the shapes that the real servers have.

Each client is named with its source in the page of the sandbox, docs/reference/sandbox.md.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

PNG = "data:image/png;base64,iVBORw0KGgo="
SUBMITS: dict[str, dict[str, Any]] = {
    "submit/imagine": {"prompt": "a cat", "base64Array": [], "notifyHook": "", "state": "", "botType": "MID_JOURNEY"},
    "submit/blend": {"base64Array": [PNG, PNG], "dimensions": "SQUARE"},
    "submit/describe": {"base64": PNG},
    "submit/shorten": {"prompt": "a very long prompt"},
    "submit/edits": {"prompt": "a hat", "image": PNG},
    "submit/edit": {"prompt": "a hat", "image": PNG},
    "submit/retexture": {"prompt": "wool", "image": PNG},
    "submit/video": {"prompt": "it runs", "image": PNG, "motion": "low"},
    "submit/show": {"jobId": "0ddb91a0-af46-4ae9-8e8e-c271074eb6e6"},
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
CHAT_PLUGIN = ("id", "status", "action", "progress", "startTime", "finishTime", "description", "prompt", "failReason", "imageUrl", "state")  # fmt: skip
"""The keys without which mouxangithub/midjourney-proxy-on-wechat stops (`mjapi.py`)."""


def start(start_sandbox: Any, dialect: str) -> httpx.Client:
    options = ("--seed", "1", "--speed", "200", "--queue", "40", "--concurrency", "40", "--dialect", dialect)
    made: httpx.Client = start_sandbox(*options).http
    return made


def fetched(client: httpx.Client, task_id: object) -> Any:
    return client.get(f"/mj/task/{task_id}/fetch").json()


def finished(client: httpx.Client, eventually: Any, task_id: object) -> Any:
    ends = ("SUCCESS", "FAILURE", "CANCEL")
    return eventually(lambda: (task := fetched(client, task_id))["status"] in ends and task)


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


SEEDS = {
    "mj-plus": ((200, {"code": 3, "description": "数据未找到", "result": None}), (200, 4)),
    "trueai": ((404, {"code": 3, "description": "关联任务不存在或已失效", "result": None, "properties": {}}), (400, 4)),
    "new-api": ((400, {"description": "task_no_found ", "type": "upstream_error", "code": 4}), (200, 4)),
}  # fmt: skip


@pytest.mark.parametrize("dialect", SEEDS)
def test_a_seed_that_cannot_be_had(start_sandbox: Any, eventually: Any, dialect: str) -> None:
    """An unknown task, and one that failed, in the words and the HTTP status of each server."""
    client = start(start_sandbox, dialect)
    unknown, (status, code) = SEEDS[dialect]
    answer = client.get("/mj/task/nobody/image-seed")
    assert (answer.status_code, answer.json()) == unknown
    failed = client.post("/mj/submit/imagine", json={"prompt": "a cat --fail"}).json()["result"]
    finished(client, eventually, failed)
    refused = client.get(f"/mj/task/{failed}/image-seed")
    assert (refused.status_code, refused.json()["code"]) == (status, code)


def test_a_text_has_no_seed(start_sandbox: Any, eventually: Any) -> None:
    """Plus: of pictures only."""
    client = start(start_sandbox, "mj-plus")
    made = client.post("/mj/submit/describe", json={"base64": PNG}).json()["result"]
    finished(client, eventually, made)
    assert client.get(f"/mj/task/{made}/image-seed").json()["description"] == "该任务类型不支持获取图片seed"


NUMBERS = {
    "mj-plus": (200, None),
    "novicezk": (200, None),
    "new-api": (400, {"description": "do_request_failed ", "type": "upstream_error", "code": 4}),
    "trueai": (200, {"success": False, "code": -1, "message": "参数异常"}),
}


@pytest.mark.parametrize("dialect", NUMBERS)
def test_ids_of_a_list_as_strings_and_as_numbers(start_sandbox: Any, dialect: str) -> None:
    """The web UI sends numbers: Jackson takes them, Go and System.Text.Json do not. No ids are no tasks."""
    client = start(start_sandbox, dialect)
    made = client.post("/mj/submit/imagine", json={"prompt": "a cat"}).json()["result"]

    def listed(ids: object) -> httpx.Response:
        return client.post("/mj/task/list-by-condition", json={"ids": ids})

    assert [task["id"] for task in listed([made, "nobody"]).json()] == [made]
    status, refusal = NUMBERS[dialect]
    numbers = listed([int(made), 7])
    assert numbers.status_code == status
    if refusal is None:
        assert [task["id"] for task in numbers.json()] == [made]
    else:
        assert numbers.json() == refusal
    assert listed([]).json() == listed(None).json() == []


def test_the_admin_ui_lists_and_queries(start_sandbox: Any, eventually: Any) -> None:
    """Plus: `list-by-ids` has `displays`; `query` gives a page of Spring Data, filtered by each of its fields."""
    client = start(start_sandbox, "mj-plus")
    made = [
        client.post("/mj/submit/imagine", json={"prompt": prompt, "state": prompt}).json()["result"]
        for prompt in ("a cat", "a dog", "x --fail")
    ]
    for one in made:
        finished(client, eventually, one)
    (shown,) = client.post("/mj/task/list-by-ids", json={"ids": [made[0]]}).json()
    assert set(shown["displays"]) == {"submitTime", "startTime", "finishTime", "action", "status"}
    assert len(shown["displays"]["finishTime"]) == len("2026-01-01 00:00:00")
    page = client.post("/mj/task/query", json={"pageNumber": 1, "pageSize": 2}).json()
    assert [task["id"] for task in page["content"]] == [made[0]]
    numbers = ("totalElements", "totalPages", "number", "size", "numberOfElements", "first", "last", "empty")
    assert [page[key] for key in numbers] == [3, 2, 1, 2, 1, False, True, False]
    filters: list[tuple[dict[str, object], list[str]]] = [
        ({"status": "FAILURE"}, made[2:]),
        ({"statusSet": ["SUCCESS"]}, made[1::-1]),
        ({"action": "BLEND"}, []),
        ({"ids": [made[0], int(made[1])]}, made[1::-1]),
        ({"prompt": "dog"}, made[1:2]),
        ({"description": "/imagine a"}, made[1::-1]),
        ({"state": "a cat"}, made[:1]),
        ({}, made[::-1]),
    ]
    for asked, expected in filters:
        found = client.post("/mj/task/query", json=asked).json()["content"]
        assert [task["id"] for task in found] == expected, asked


def test_the_queue_of_the_chat_plugin_shows_what_runs(start_sandbox: Any) -> None:
    """Oldest first, with the state that it sent; what has ended is not there."""
    client = start_sandbox("--seed", "1", "--speed", "0.1", "--concurrency", "1").http
    assert client.get("/mj/task/queue").json() == []
    states = ['{"user_id": "1"}', '{"user_id": "2"}']
    for state in states:
        client.post("/mj/submit/imagine", json={"prompt": "a cat", "state": state})
    queue = client.get("/mj/task/queue").json()
    assert [(task["status"], task["state"]) for task in queue] == [
        ("SUBMITTED", states[0]),
        ("NOT_START", states[1]),
    ]
    assert all(set(CHAT_PLUGIN) <= task.keys() for task in queue)


def test_accounts(start_sandbox: Any) -> None:
    """novicezk lists them, Plus pages them, both with the user's token; trueai and new-api keep them to themselves."""
    client = start_sandbox("--seed", "1", "--dialect", "novicezk", "--concurrency", "2", "--queue", "7").http
    (account,) = client.get("/mj/account/list").json()
    assert (account["coreSize"], account["queueSize"], account["enable"], account["timeoutMinutes"]) == (
        2,
        7,
        True,
        5,
    )
    assert {"id", "properties", "guildId", "channelId", "userToken", "userAgent"} <= account.keys()
    assert client.get(f"/mj/account/{account['id']}/fetch").json() == account
    assert client.get("/mj/account/nobody/fetch").content == b""
    plus = start(start_sandbox, "mj-plus")
    (paged,) = plus.post("/mj/account/query", json={}).json()["content"]
    assert {"displays", "mode", "remixAutoSubmit", "userToken"} <= paged.keys()
    assert plus.get(f"/mj/account/{paged['id']}/fetch").json() == paged
    for dialect in ("mj-plus", "trueai", "new-api"):
        assert start(start_sandbox, dialect).get("/mj/account/list").status_code == 404


def test_plus_says_why_a_task_cannot_be_cancelled(start_sandbox: Any, eventually: Any) -> None:
    """Unknown, or ended with that action and status; what it cancels has no result."""
    client = start(start_sandbox, "mj-plus")
    made = client.post("/mj/submit/imagine", json={"prompt": "a cat"}).json()["result"]
    finished(client, eventually, made)
    answers = [client.post(f"/mj/task/{one}/cancel").json() for one in ("nobody", made)]
    assert answers == [
        {"code": 3, "description": "数据未找到", "result": None},
        {"code": 4, "description": "该任务不可取消: IMAGINE-SUCCESS", "result": None},
    ]
    slow = start_sandbox("--seed", "1", "--speed", "0.1").http
    running = slow.post("/mj/submit/imagine", json={"prompt": "a cat"}).json()["result"]
    cancelled = slow.post(f"/mj/task/{running}/cancel").json()
    assert cancelled == {"code": 1, "description": "成功", "result": None}
    assert fetched(slow, running)["status"] == "CANCEL"
    assert slow.get("/mj/task/queue").json() == []


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
