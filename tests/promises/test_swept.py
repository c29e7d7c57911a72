"""A stranger's task, all of whose callbacks were lost, is found by the sweep: its rules run once."""

from __future__ import annotations

from typing import Any

import pytest

RULES = """
[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"

[upstreams.main]
url = "{url}"
dialect = "{dialect}"
look_after_s = 0.3
quiet_s = 0.7
sweep_every_s = 0.3
"""


@pytest.mark.parametrize("dialect", ["mj-plus", "trueai"])
def test_a_strangers_task_is_found_and_pressed_once(
    start_sandbox: Any, start_server: Any, eventually: Any, database_url: str, dialect: str
) -> None:
    """The sandbox calls nobody. Another task, without our hook, is left alone."""
    sandbox = start_sandbox("--speed", "30", "--dialect", dialect, "--faults", "drop")
    server = start_server(toml=RULES.format(url=sandbox.url, dialect=dialect), DATABASE_URL=database_url)
    eventually(lambda: "the history of an upstream is known" in "\n".join(server.lines))
    made = sandbox.http.post("/mj/submit/imagine", json={"prompt": "a cat", "notifyHook": server.hook}).json()
    sandbox.http.post("/mj/submit/imagine", json={"prompt": "a dog"})
    eventually(lambda: sandbox.ledger()["billed"]["action"] == 4)
    presses = [one["body"]["taskId"] for one in sandbox.ledger()["submissions"] if "action" in one["path"]]
    assert presses == [made["result"]] * 4
    eventually(lambda: server.get("/api/submissions?state=accepted")["submissions"])
    lists = sandbox.ledger()["questions"]["task/list"]
    eventually(lambda: sandbox.ledger()["questions"]["task/list"] > lists + 3)
    assert sandbox.ledger()["billed"]["action"] == 4
