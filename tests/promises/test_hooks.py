"""Registered hooks are rotated and retired on all servers, and a refused callback is reported, by real processes."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import command

SECRET = {"HOOKCHAIN_SECRET": "a test's secret"}
NOWHERE = "http://127.0.0.1:9"


def post(hook: str, **task: Any) -> int:
    """The answer to a callback."""
    return httpx.post(
        hook, json={"id": "1", "status": "SUBMITTED"} | task, trust_env=False, verify=False
    ).status_code


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_rotated_hook_works_at_once_and_a_retired_one_ends_on_all_servers(
    kind: str, start_server: Any, eventually: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Two servers on one database, and the command line beside them."""
    settings = {"HOOKCHAIN_UPSTREAM_URL": NOWHERE}
    if kind == "postgres":
        settings["DATABASE_URL"] = request.getfixturevalue("postgres_url")
    first = start_server(**settings)
    second = start_server(command=["-m", "hookchain", "serve", "--port", "0", "--no-worker"], **settings)
    bases = [server.hook.partition("/notify/")[0] for server in (first, second)]

    def url(*options: str) -> tuple[str, str]:
        done = command.run(tmp_path, "url", *options, **SECRET, **settings)
        assert done.returncode == 0, done.stderr
        return "/notify/" + done.stdout.strip().partition("/notify/")[2], done.stderr

    def answers(path: str) -> list[int]:
        return [post(base + path) for base in bases]

    old, told = url()
    assert (answers(old), answers(f"{old}/a1"), told) == ([200, 200], [200, 200], "")
    new, told = url("--rotate")
    assert "Register the new hook at main now." in told
    assert "--retire" in told
    assert new != old
    assert (answers(new), answers(old), answers(f"{old}/a1")) == ([200, 200], [200, 200], [200, 200])
    assert answers(f"{new}/a1") == [404, 404]
    assert url() == (
        new,
        "1 older hook is still valid for main; when nothing uses them any more, run `hookchain url --retire`.\n",
    )
    assert json.loads(command.run(tmp_path, "url", "--json", **SECRET, **settings).stdout)[
        "old_still_valid"
    ] == {"main": 1}
    eventually(lambda: new in first.http.get("/setup").text, within_s=30)
    assert url("--retire")[0] == new
    eventually(lambda: answers(old) == answers(f"{old}/a1") == [404, 404], within_s=30)
    assert answers(new) == [200, 200]

    def refused() -> set[str]:
        (main,) = first.get("/api/upstreams")["upstreams"]
        return {one["why"] for one in main["refused"]}

    eventually(lambda: refused() == {"unknown_hook", "retired_hook"}, within_s=30)
    first.stop()
    assert start_server(**settings).hook.endswith(new)


def test_a_submissions_hook_opens_itself_and_its_state_does_not_tell_it(
    start_server: Any, start_sandbox: Any, eventually: Any
) -> None:
    """As the upstream was really sent it; a retired registered hook ends none of them."""
    sandbox = start_sandbox("--speed", "50")
    server = start_server(HOOKCHAIN_UPSTREAM_URL=sandbox.url)
    for prompt in ("a cat", "a dog"):
        server.submit(kind="imagine", prompt=prompt)
    bodies = eventually(lambda: found if len(found := sandbox.accepted("/submit/imagine")) == 2 else None)
    (one, other) = (body["notifyHook"] for body in bodies)
    for hook, body in zip((one, other), bodies, strict=True):
        assert hook.endswith("/" + body["state"])
        assert hook.rpartition("/")[0] != server.hook
        assert post(hook) == 200
    swapped = one.rpartition("/")[0] + "/" + other.rpartition("/")[2]
    assert post(swapped) == 404
    assert post(one.rpartition("/")[0]) == 404
    assert post(server.hook + "/" + one.rpartition("/")[2]) == 200  # as 0.1.0 sent them


def test_a_dead_hook_after_a_lost_database_is_reported(
    start_server: Any, eventually: Any, tmp_path: Path
) -> None:
    """In the log, by `upstreams`, by `doctor` and on the page, with the cure and without the token."""
    settings = {"HOOKCHAIN_UPSTREAM_URL": NOWHERE}
    server = start_server(**settings, HOOKCHAIN_SECRET="")
    lost = server.hook.partition("/notify/")[2]
    server.stop()
    (tmp_path / "hookchain.db").unlink()
    server = start_server(**settings, HOOKCHAIN_SECRET="")
    hook = server.hook.replace(server.hook.partition("/notify/")[2], lost)
    assert [post(hook) for _ in range(5)] == [404] * 5
    port = server.url.rpartition(":")[2]
    told = eventually(
        lambda: text if "refused: 5" in (text := command.run(tmp_path, "upstreams", PORT=port).stdout) else ""
    )
    assert "register the hook that `hookchain url` prints" in told.lower()
    found = command.run(tmp_path, "doctor", **settings).stdout
    assert "! 5 callbacks refused (unknown_hook)" in found
    page = server.http.get("/setup").text
    assert "Callbacks arrived at a hook of another database or secret" in page
    assert [line for line in server.lines if "callbacks refused" in line]
    assert lost not in told + found + page + server.output


def test_a_task_whose_callback_is_too_large_is_read_from_its_upstream(
    start_server: Any, start_sandbox: Any, eventually: Any, tmp_path: Path
) -> None:
    """Another program submitted it, and its one callback is refused: it ends here all the same."""
    sandbox = start_sandbox("--speed", "50")
    server = start_server(HOOKCHAIN_UPSTREAM_URL=sandbox.url, HOOKCHAIN_BODY_LIMIT_BYTES="1000")
    task_id = sandbox.http.post("/mj/submit/imagine", json={"prompt": "a cat"}).json()["result"]
    assert post(server.hook, id=task_id, image="x" * 100_000) == 413

    def status() -> bool:
        with closing(sqlite3.connect(tmp_path / "hookchain.db")) as connection:
            rows = connection.execute("SELECT id, status FROM tasks").fetchall()
        return rows == [(task_id, "SUCCESS")]

    eventually(status)
