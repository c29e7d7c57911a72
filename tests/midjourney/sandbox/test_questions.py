"""Questions about tasks and accounts are answered in the words and shapes of each server."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.sandbox_http import CHAT_PLUGIN, PNG, fetched, finished, start

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
