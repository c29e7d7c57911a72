"""`hookchain waiting`, with a running server and without one, and an upstream that counts what it was sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import command

pytestmark = pytest.mark.process


def hookchain(cwd: Path, *arguments: str, code: int = 0, **environment: str) -> str:
    """What it prints; what it says is wrong, where it is to fail."""
    ran = command.run(cwd, "waiting", *arguments, HOST="127.0.0.1", **environment)
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stdout if code == 0 else ran.stderr


def test_what_waits_is_listed_dropped_and_sent_now(
    tmp_path: Path, start_sandbox: Any, start_server: Any, eventually: Any
) -> None:
    """Two that are to be sent in an hour: one goes now, the other never; each only once. After the server has ended: the same."""
    sandbox = start_sandbox("--speed", "50")
    server = start_server(HOOKCHAIN_UPSTREAM_URL=sandbox.url)
    environment = {"PORT": server.url.rsplit(":", 1)[-1], "HOOKCHAIN_UPSTREAM_URL": sandbox.url}

    def run(*arguments: str, code: int = 0) -> str:
        return hookchain(tmp_path, *arguments, code=code, **environment)

    def later(prompt: str) -> str:
        return str(server.submit(kind="imagine", prompt=prompt, after=3600)["id"])

    one, two, three, four = (later(prompt) for prompt in ("one", "two", "three", "four"))
    listed = json.loads(run("list", "--json"))
    assert [(entry["id"], entry["why"]) for entry in listed] == [
        (id_, "scheduled") for id_ in (four, three, two, one)
    ]
    assert f"{one}\timagine\tno task\tmain\tchain {listed[3]['chain_id']}\tperson:api\tdue 2" in run("list")
    assert run("send-now", one) == f"{one}: is due now\n"
    eventually(lambda: [body["prompt"] for body in sandbox.accepted("/imagine")] == ["one"])
    assert run("drop", two) == f"{two}: dropped\n"
    problem = run("drop", two, "nobody", code=1)
    assert f"Submission {two} does not wait any more: it is rejected" in problem
    assert "There is no submission 'nobody'" in problem
    server.stop()
    assert [entry["id"] for entry in json.loads(run("list", "--json"))] == [four, three]
    assert run("drop", three) == f"{three}: dropped\n"
    assert run("send-now", four) == f"{four}: is due now\n"
    assert f"{three}: Submission {three} does not wait any more" in run("send-now", three, code=1)
    assert [entry["why"] for entry in json.loads(run("list", "--json"))] == ["turn"]
    start_server(HOOKCHAIN_UPSTREAM_URL=sandbox.url)
    eventually(lambda: [body["prompt"] for body in sandbox.accepted("/imagine")] == ["one", "four"])


def test_nothing_waits(tmp_path: Path) -> None:
    """An empty database says so in words, and as JSON."""
    assert hookchain(tmp_path, "list", HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9") == "nothing waits\n"
    assert (
        json.loads(hookchain(tmp_path, "list", "--json", HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9")) == []
    )
