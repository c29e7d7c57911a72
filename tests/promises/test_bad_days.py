"""Disks that are full and work that hangs: real processes, and what they answer, keep and give back."""

from __future__ import annotations

import json
import resource
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import PATIENCE_S

PLUGIN = """
import asyncio
from hookchain import task_succeeded

@task_succeeded.connect
async def hang(action, **_):
    await asyncio.Event().wait()
"""
HANGING_THREADS = {
    "blocks": "async def hang(action, **_):\n    time.sleep(600)",
    "calls": "async def hang(action, **_):\n    await asyncio.to_thread(time.sleep, 600)",
    "plain": "def hang(action, **_):\n    time.sleep(600)",
}
"""Receivers whose threads nothing can end."""


def callback(number: int) -> bytes:
    return json.dumps({"id": f"task-{number}", "action": "IMAGINE", "status": "SUCCESS"}).encode()


def set_largest_file(pid: int, size: int) -> None:
    """From now on no file of that process grows beyond so many bytes: what a full disk or a quota does."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


def test_a_full_disk_is_503_and_then_over_without_a_restart(
    start_server: Any, tmp_path: Path, eventually: Any
) -> None:
    """What was answered 200 before, between and after is there; what was not is not, and readiness tells."""
    server = start_server(HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9")
    answers: dict[int, int] = {}

    def post(numbers: range) -> set[int]:
        for number in numbers:
            answers[number] = httpx.post(
                server.hook, content=callback(number), timeout=PATIENCE_S, verify=False
            ).status_code
        return {answers[number] for number in numbers}

    assert post(range(20)) == {200}
    set_largest_file(server.pid, 0)
    assert post(range(20, 40)) == {503}
    refused = httpx.post(server.hook, content=callback(40), timeout=PATIENCE_S, verify=False)
    assert refused.headers["retry-after"] == "5"
    assert "could not store" in refused.json()["detail"]
    assert server.http.get("/readyz").status_code == 503
    assert server.http.get("/healthz").status_code == 200
    set_largest_file(server.pid, resource.RLIM_INFINITY)
    assert post(range(60, 80)) == {200}
    eventually(lambda: server.http.get("/readyz").status_code == 200)  # an answer is remembered for a second
    server.kill()
    with closing(sqlite3.connect(tmp_path / "hookchain.db")) as database:
        kept = database.execute("SELECT DISTINCT task_id FROM events").fetchall()
    answered = {f"task-{number}" for number, status in answers.items() if status == 200}
    assert {task_id for (task_id,) in kept} == answered
    assert "Traceback" not in server.output


def test_a_full_disk_in_the_middle_of_a_chain_delays_it(
    start_sandbox: Any, start_server: Any, eventually: Any
) -> None:
    """The disk fills when the grid is made, and there is room again later: four upscales, each once."""
    sandbox = start_sandbox("--speed", "20", "--seed", "4")
    rules = (Path(__file__).parent.parent.parent / "hookchain.toml").read_text()
    upstream = (
        f'[upstreams.main]\nurl = "{sandbox.url}"\nlook_after_s = 0.5\nquiet_s = 0.7\nsettle_after_s = 0.5\n'
    )
    server = start_server(toml=f"{rules}\n{upstream}")
    server.submit(kind="imagine", prompt="a cat")
    task_id = eventually(lambda: [task["id"] for task in server.get("/api/tasks")["tasks"]])[0]
    set_largest_file(server.pid, 0)
    eventually(lambda: sandbox.http.get(f"/mj/task/{task_id}/fetch").json()["status"] == "SUCCESS")
    set_largest_file(server.pid, resource.RLIM_INFINITY)
    eventually(lambda: len(server.get("/api/tasks?status=SUCCESS")["tasks"]) == 5)
    assert sandbox.ledger()["billed"]["action"] == 4
    assert len({body["customId"] for body in sandbox.accepted("/action")}) == 4


def test_a_file_that_is_renamed_away_is_503_until_it_is_back(
    start_server: Any, tmp_path: Path, eventually: Any
) -> None:
    """Pages and callbacks alike; nobody makes an empty database in its place, and all that was answered 200 is there."""
    server = start_server(HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9")
    file, away = tmp_path / "hookchain.db", tmp_path / "away.db"

    def post(number: int) -> int:
        return httpx.post(server.hook, content=callback(number), timeout=PATIENCE_S, verify=False).status_code

    assert post(1) == 200
    file.rename(away)
    assert [server.http.get(path).status_code for path in ("/", "/api/tasks", "/readyz")] == [503] * 3
    assert [post(2), post(3)] == [503] * 2
    assert server.http.get("/").status_code == 503
    assert not file.exists()
    away.rename(file)
    assert post(4) == 200
    assert [server.http.get(path).status_code for path in ("/", "/api/tasks")] == [200] * 2
    eventually(lambda: server.http.get("/readyz").status_code == 200)  # an answer is remembered for a second
    server.kill()
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        kept = {task_id for (task_id,) in database.execute("SELECT DISTINCT task_id FROM events")}
    assert kept == {"task-1", "task-4"}
    assert "Traceback" not in server.output


def test_a_directory_that_cannot_be_written_is_said_in_one_line(start_server: Any, tmp_path: Path) -> None:
    """The configured place does not exist: no traceback, and the exit code of a failure."""
    server = start_server(DATABASE_URL=f"sqlite:///{tmp_path}/nowhere/hookchain.db")
    assert server.wait() in (1, 2)
    assert "nowhere/hookchain.db cannot be used: unable to open database file" in server.output
    assert "Traceback" not in server.output


def test_sigterm_ends_it_in_time_whatever_hangs(start_server: Any, eventually: Any, tmp_path: Path) -> None:
    """A receiver, an upstream and a sender that hang: ended within a platform's 30 s, and taken up again after."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "hangs.py").write_text(PLUGIN)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        server = start_server(HOOKCHAIN_UPSTREAM_URL=url, HOOKCHAIN_UPSTREAM_VERIFY="trust")
        assert (
            httpx.post(server.hook, content=callback(1), timeout=PATIENCE_S, verify=False).status_code == 200
        )
        made = server.submit(kind="imagine", prompt="a cat")
        connection, _ = deaf.accept()
        eventually(lambda: server.get("/api/deliveries?state=running")["deliveries"])
        eventually(lambda: server.get(f"/api/submissions/{made['id']}")["state"] == "sending")
        slow = socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
        path = server.hook.removeprefix(server.url)
        slow.sendall(f'POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{{"id"'.encode())
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 30
        slow.close()
        connection.close()
    again = start_server(HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9", HOOKCHAIN_UPSTREAM_VERIFY="trust")
    (delivery,) = eventually(lambda: again.get("/api/deliveries?state=running")["deliveries"])
    assert delivery["attempts"] == 2
    assert again.get(f"/api/submissions/{made['id']}")["state"] == "uncertain"
    again.kill()


def test_threads_that_hang_for_ever_keep_no_process_from_ending(
    start_server: Any, eventually: Any, tmp_path: Path
) -> None:
    """Of plain receivers, of async ones that block, and of what they have run in a thread; callbacks are answered meanwhile."""
    (tmp_path / "plugins").mkdir()
    for name, receiver in HANGING_THREADS.items():
        head = (
            "import asyncio\nimport time\nfrom hookchain import task_succeeded\n\n@task_succeeded.connect\n"
        )
        (tmp_path / "plugins" / f"{name}.py").write_text(head + receiver)
    server = start_server(HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9", HOOKCHAIN_UPSTREAM_VERIFY="trust")
    assert httpx.post(server.hook, content=callback(1), timeout=PATIENCE_S, verify=False).status_code == 200
    eventually(lambda: len(server.get("/api/deliveries?state=running")["deliveries"]) == 3)
    eventually(lambda: "receiver blocks its plugin's event loop" in server.output)
    assert httpx.post(server.hook, content=callback(2), timeout=PATIENCE_S, verify=False).status_code == 200
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 30
    assert "plugin does not stop" in server.output
    again = start_server(HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9", HOOKCHAIN_UPSTREAM_VERIFY="trust")
    running = eventually(lambda: again.get("/api/deliveries?state=running")["deliveries"])
    assert not any("process ended" in one["decision"] for one in running)  # it stopped: nobody is a suspect
    again.kill()
