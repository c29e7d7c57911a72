"""Failures that other systems had, over HTTP and with real processes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import PATIENCE_S

PLUGIN = """
from hookchain import task_succeeded

@task_succeeded.connect
async def count(action, *, task, **_):
    with open("runs.txt", "a") as file:
        print(task.id, file=file)
"""


def succeeded(sandbox: Any, eventually: Any, prompt: str) -> dict[str, Any]:
    """The SUCCESS of a grid that the sandbox makes for somebody who registered no hook."""
    task_id = sandbox.http.post("/mj/submit/imagine", json={"prompt": prompt}).json()["result"]

    def ended() -> dict[str, Any] | None:
        task: dict[str, Any] = sandbox.http.get(f"/mj/task/{task_id}/fetch").json()
        return task if task["status"] == "SUCCESS" else None

    found: dict[str, Any] = eventually(ended)
    return found


def test_one_callback_never_gives_two_runs(
    start_sandbox: Any, start_server: Any, eventually: Any, tmp_path: Path
) -> None:
    """n8n ran a workflow twice for one webhook. One SUCCESS, posted fifty times at once: one run of each receiver."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "counting.py").write_text(PLUGIN)
    sandbox = start_sandbox("--speed", "50")
    server = start_server(HOOKCHAIN_UPSTREAM_URL=sandbox.url)
    one, other = (succeeded(sandbox, eventually, prompt) for prompt in ("a cat", "a dog"))
    with ThreadPoolExecutor(25) as senders:
        answers = list(
            senders.map(
                lambda _: httpx.post(server.hook, json=one, timeout=PATIENCE_S, verify=False), range(50)
            )
        )
    assert {answer.status_code for answer in answers} == {200}
    events = server.get("/api/events?limit=100")["events"]
    assert [event["source"] for event in events].count(
        "callback"
    ) == 50  # beside what the upstream said itself
    eventually(lambda: server.get("/api/deliveries?state=done")["deliveries"])
    httpx.post(server.hook, json=other, timeout=PATIENCE_S, verify=False)
    eventually(lambda: len(server.get("/api/deliveries?state=done")["deliveries"]) == 2)
    assert (tmp_path / "runs.txt").read_text().split() == [one["id"], other["id"]]


def test_one_key_at_the_same_instant_is_one_submission(
    start_sandbox: Any, start_server: Any, eventually: Any
) -> None:
    """Twenty clients with the same Idempotency-Key: one is told 202, the others 200, and the upstream sees one."""
    sandbox = start_sandbox("--speed", "50")
    server = start_server(HOOKCHAIN_UPSTREAM_URL=sandbox.url)

    def ask(_: int) -> httpx.Response:
        return httpx.post(
            f"{server.url}/api/submissions",
            json={"kind": "imagine", "prompt": "a cat"},
            headers={"idempotency-key": "k"},
            timeout=PATIENCE_S,
            verify=False,
        )

    with ThreadPoolExecutor(20) as clients:
        answers = list(clients.map(ask, range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    eventually(lambda: server.get("/api/tasks?status=SUCCESS")["tasks"])
    assert len(sandbox.accepted("/imagine")) == 1


def test_what_waits_at_a_paused_upstream_outlives_a_restart(
    start_sandbox: Any, start_server: Any, eventually: Any
) -> None:
    """Paused by hand, killed, started: still paused, still waiting; resumed, it goes."""
    sandbox = start_sandbox("--speed", "50")
    server = start_server(HOOKCHAIN_UPSTREAM_URL=sandbox.url)
    assert server.http.post("/api/upstreams/main/pause").status_code == 200
    made = server.submit(kind="imagine", prompt="a cat")
    server.kill()
    again = start_server(HOOKCHAIN_UPSTREAM_URL=sandbox.url)
    assert again.get(f"/api/submissions/{made['id']}")["state"] == "waiting"
    assert sandbox.accepted("/imagine") == []
    assert again.http.post("/api/upstreams/main/resume").status_code == 200
    eventually(lambda: again.get("/api/tasks?status=SUCCESS")["tasks"])
    assert len(sandbox.accepted("/imagine")) == 1
