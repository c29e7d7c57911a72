"""Rules whose work never ends, on a prompt of a megabyte: callbacks are answered all the while, and nothing is paid for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from hookchain.testing import grid
from tests.conftest import PATIENCE_S, HookchainServer

RULES = """
[upstreams.main]
url = "http://127.0.0.1:9"
dialect = "mj-plus"
verify = "trust"

[[rules]]
name = "endless"
on = "task.succeeded"
if = "task.id == 'long'"
imagine = "{% for a in task.id * 900 %}{% for b in task.id * 900 %}{% for c in task.id * 900 %}{% endfor %}{% endfor %}{% endfor %}"

[[rules]]
name = "sorted"
on = "task.succeeded"
if = "task.id == 'long' and (task.prompt | wordwrap(20) | list | sort | join | length) > 0"
imagine = "{{ task.prompt }}"

[[rules]]
name = "acting"
on = "task.succeeded"
if = "(chain | attr('press'))('U1')"
shorten = "paid"
"""
DEAD = {"rule:endless", "rule:sorted", "rule:acting"}


@pytest.mark.process
def test_callbacks_are_answered_while_the_worst_rules_run(start_server: Any) -> None:
    """Each is a dead letter with the reason; the slowest answer is printed."""
    server = start_server(toml=RULES)
    grown = grid(id="long", status="SUCCESS", prompt="a cat " * 160_000)
    assert server.http.post(server.hook, json=grown).status_code == 200
    answered, slowest_s, started = 0, 0.0, time.monotonic()
    with httpx.Client(timeout=PATIENCE_S, verify=False) as other:
        letters: list[dict[str, Any]] = []
        while {one["delivery"]["receiver"] for one in letters} != DEAD:
            began = time.monotonic()
            assert began - started < PATIENCE_S, letters
            body = grid(id=f"short-{answered}", status="IN_PROGRESS", progress="5%", buttons=[])
            assert other.post(server.hook, json=body).status_code == 200
            slowest_s = max(slowest_s, time.monotonic() - began)
            answered += 1
            letters = server.get("/api/dead-letters")["dead_letters"]
    print(f"{answered} callbacks were answered meanwhile, the slowest within {1000 * slowest_s:.0f} ms")
    reasons = {one["delivery"]["receiver"]: one["delivery"]["decision"] for one in letters}
    assert "took more than 1 s of processor time" in reasons["rule:endless"]
    assert (
        "task.prompt has more than 16000 characters, which is more than rules send" in reasons["rule:sorted"]
    )
    assert "has no attribute 'press'" in reasons["rule:acting"]
    assert server.get("/api/submissions")["submissions"] == []


def _judging(server: int) -> list[int]:
    """The process that works out expressions for a server, if it has one."""
    children = Path(f"/proc/{server}/task").glob("*/children")
    return [
        int(child)
        for listed in children
        for child in listed.read_text().split()
        if b"dispatcher.rules.language" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


@pytest.mark.process
def test_a_callback_is_answered_while_an_expression_is_worked_out(
    start_server: Callable[..., HookchainServer], eventually: Callable[..., Any]
) -> None:
    """However long that takes: it gets no processor here until callbacks and the API have been answered."""
    server = start_server(toml=RULES)
    deliveries = "/api/deliveries?receiver=rule:sorted&state="
    first = grid(id="first", status="SUCCESS", prompt="a cat")
    assert server.http.post(server.hook, json=first).status_code == 200
    eventually(lambda: server.get(f"{deliveries}done")["deliveries"])
    [judging] = _judging(server.pid)
    os.kill(judging, signal.SIGSTOP)
    try:
        slow = grid(id="slow", status="SUCCESS", prompt="a cat")
        assert server.http.post(server.hook, json=slow).status_code == 200
        [at_work] = eventually(lambda: server.get(f"{deliveries}running")["deliveries"])
        quick = grid(id="quick", status="IN_PROGRESS", progress="5%", buttons=[])
        assert server.http.post(server.hook, json=quick).status_code == 200
        assert "quick" in [one["id"] for one in server.get("/api/tasks")["tasks"]]
        assert server.get(f"/api/deliveries/{at_work['id']}")["state"] != "done"
    finally:
        os.kill(judging, signal.SIGCONT)
    eventually(lambda: len(server.get(f"{deliveries}done")["deliveries"]) == 2)
