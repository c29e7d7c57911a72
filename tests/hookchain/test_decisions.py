"""explain, replay, costs, plugins and rules at the command line, with a real server and a real chain behind them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hookchain.cli.decisions import explanation_lines
from hooks.api.gateway_answers import Explained as ExplainedAnswer
from hooks.api.shapes import explained_shape, extended
from storage.reading.explanation import Explained
from storage.records import Event, TaskRow
from tests.support import command

REPOSITORY = Path(__file__).parent.parent.parent
TOML = """
[[rules]]
name = "upscale"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = ["U1", "U2"]

[[rules]]
name = "same"
on = "task.succeeded"
if = "task.is_grid"
press = "U1"

[upstreams.main]
url = "{url}"
prices = {{ imagine = 0.05, upscale = 0.01 }}
"""
NEW = """
[[rules]]
name = "upscale"
on = "task.succeeded"
if = "task.is_grid"
press = "U*"

[[rules]]
name = "zoom"
on = "task.succeeded"
if = "task.action == 'UPSCALE'"
zoom = 2
"""


class Shell:
    """The command line, beside a server that has grown one chain."""

    def __init__(self, directory: Path, server: Any, sandbox: Any, grid: str) -> None:
        self.server = server
        self.sandbox = sandbox
        self.grid = grid
        self._directory = directory

    def run(self, *arguments: str, code: int = 0) -> str:
        port = self.server.url.rsplit(":", 1)[-1]
        ran = command.run(self._directory, *arguments, PORT=port, HOST="127.0.0.1")
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran.stdout if code == 0 else ran.stderr

    def event(self, signal: str) -> str:
        """The first event of the grid that gave this signal."""
        found = self.server.get(f"/api/events?task_id={self.grid}&signal={signal}")["events"]
        return str(found[-1]["id"])


@pytest.fixture
def shell(start_sandbox: Any, start_server: Any, eventually: Any, tmp_path: Path) -> Shell:
    """One imagine, two upscales, all ended."""
    sandbox = start_sandbox("--speed", "40", "--seed", "5")
    server = start_server(toml=TOML.format(url=sandbox.url))
    made = server.submit(kind="imagine", prompt="a cat")
    eventually(lambda: len(server.get("/api/tasks?status=SUCCESS")["tasks"]) == 3)
    eventually(lambda: len(server.get("/api/deliveries?state=done")["deliveries"]) == 6)
    (grid,) = server.get(f"/api/submissions/{made['id']}")["task_ids"]
    return Shell(tmp_path, server, sandbox, grid)


def explain_tells_who_heard_what_fired_and_why_not(shell: Shell) -> None:
    """For people and as JSON, with what was submitted and what came of it; no secret of ours."""
    told = shell.run("explain", shell.grid)
    assert f"task {shell.grid} at main: IMAGINE SUCCESS" in told
    assert "requested by person:api: imagine: accepted" in told
    assert "rule:upscale: asked for action U1, action U2" in told
    assert "repeat requests: 1, sent once" in told
    children = [task["id"] for task in shell.server.get("/api/tasks?action=UPSCALE")["tasks"]]
    assert all(child in told for child in children)
    child = shell.run("explain", children[0])
    assert "rule:upscale: did not fire: task.is_grid is False" in child
    as_json = json.loads(shell.run("explain", shell.grid, "--json"))
    (succeeded,) = [event for event in as_json["events"] if event["signal"] == "task.succeeded"]
    assert {one["receiver"]: one["fired"] for one in succeeded["deliveries"]} == {
        "rule:upscale": True,
        "rule:same": True,
    }
    assert as_json["asked_for"][0]["tries"][0]["http_status"] == 200
    token = shell.server.hook.rsplit("/", 1)[-1]
    assert token not in told + json.dumps(as_json)
    assert "no task or ticket 'nobody'" in shell.run("explain", "nobody", code=1)


def test_a_replay_pays_nothing_unless_it_is_forced(shell: Shell, eventually: Any) -> None:
    """The receivers run again; what they ask for was asked for before. Forced, it is pressed and billed again
    (U1; a second U2 waits for it, since this upstream swaps what it upscales at once)."""
    event = shell.event("task.succeeded")
    assert f"event {event}: replayed as" in shell.run("replay", event)
    eventually(lambda: len(shell.server.get("/api/deliveries?state=done")["deliveries"]) == 8)
    assert shell.sandbox.ledger()["billed"]["action"] == 2
    shell.run("replay", event, "--force")
    eventually(lambda: shell.sandbox.ledger()["billed"]["action"] > 2)
    assert "no event 99999" in shell.run("replay", "99999", code=1)
    stale = [one for one in shell.server.get("/api/events?limit=100")["events"] if not one["signal"]]
    assert "gave no signal" in shell.run("replay", str(stale[0]["id"]), code=1)


def test_a_replay_for_one_receiver(shell: Shell, eventually: Any) -> None:
    """No other runs, and nothing is paid for; one that did not get the event is named with those that did."""
    event = shell.event("task.succeeded")
    before = len(shell.server.get("/api/deliveries")["deliveries"])
    assert f"event {event}: replayed as" in shell.run("replay", event, "--only", "rule:same")
    eventually(lambda: len(shell.server.get("/api/deliveries?state=done")["deliveries"]) == before + 1)
    (newest, *_) = shell.server.get("/api/deliveries")["deliveries"]
    assert (newest["receiver"], shell.sandbox.ledger()["billed"]["action"]) == ("rule:same", 2)
    refused = shell.run("replay", event, "--only", "rule:sam", code=1)
    assert "was not given to 'rule:sam'; it was given to: rule:same, rule:upscale" in refused


def costs_count_what_was_spent_and_what_was_not(shell: Shell) -> None:
    """By rule, chain, day and upstream; the press that two rules wanted was paid for once."""
    by_rule = {one["key"]: one for one in json.loads(shell.run("costs", "--json"))["costs"]}
    assert by_rule["person:api"]["spent"] == pytest.approx(0.05)
    pressed = [by_rule[name] for name in ("rule:upscale", "rule:same") if name in by_rule]
    assert sum(one["spent"] for one in pressed) == pytest.approx(0.02)
    assert sum(one["saved_submissions"] for one in pressed) == 1
    assert sum(one["saved"] for one in pressed) == pytest.approx(0.01)
    for by in ("chain", "upstream"):
        (one,) = json.loads(shell.run("costs", "--by", by, "--json"))["costs"]
        assert one["net"] == pytest.approx(0.07)
    days = json.loads(shell.run("costs", "--by", "day", "--json"))["costs"]  # two of them at midnight
    assert sum(one["net"] for one in days) == pytest.approx(0.07)
    assert "total" in shell.run("costs", "--since", "2h")
    assert "such as 30m, 12h, 7d or 2w" in shell.run("costs", "--since", "ever", code=2)


def what_if_says_what_new_rules_would_have_submitted(shell: Shell, tmp_path: Path) -> None:
    """Next to what was; nothing is sent or written."""
    (tmp_path / "new.toml").write_text(NEW)
    before = shell.sandbox.ledger()["billed"], len(shell.server.get("/api/submissions")["submissions"])
    told = json.loads(shell.run("rules", "try", "new.toml", "--since", "1h", "--json"))
    assert told["events"] == 3
    asked = [(one["rule"], one["label"], one["price"]) for one in told["suggested"]]
    assert sorted(asked) == [
        *(("rule:upscale", f"U{number}", 0.01) for number in (1, 2, 3, 4)),
        *[("rule:zoom", "Zoom Out 2x", 0.0)] * 2,
    ]
    assert sum(told["really"]["by_rule"].values()) == 2
    shown = shell.run("rules", "try", "new.toml", "--since", "1h")
    assert "3 events were tried; nothing was sent" in shown
    assert "U1, U2, U3, U4, Zoom Out 2x x2" in shown
    after = shell.sandbox.ledger()["billed"], len(shell.server.get("/api/submissions")["submissions"])
    assert after == before


def test_rules_are_checked_listed_and_reloaded(shell: Shell, tmp_path: Path, eventually: Any) -> None:
    """A mistake in the running server's file is said by every way of asking, and changes nothing."""
    (tmp_path / "new.toml").write_text(NEW)
    assert "2 rules, all valid" in shell.run("rules", "check", "new.toml")
    (tmp_path / "new.toml").write_text(NEW.replace("press", "prss"))
    assert 'new.toml:6, rule "upscale", key \'prss\': unknown key. Did you mean "press"?' in shell.run(
        "rules", "check", "new.toml", code=2
    )
    assert "fired 1 of 3 times" in shell.run("rules", "list")
    file = tmp_path / "hookchain.toml"
    right = file.read_text()
    file.write_text(right.replace('"U2"', '"U3"').replace("press =", "prss ="))
    eventually(lambda: shell.server.get("/api/rules")["error"])
    assert "the file has changed but is not in use" in shell.run("rules", "list")
    shell.server.submit(kind="imagine", prompt="old rules")
    eventually(lambda: len(shell.server.get("/api/tasks?status=SUCCESS")["tasks"]) == 6)
    file.write_text(right.replace('"U2"', '"U3"'))
    eventually(lambda: not shell.server.get("/api/rules")["error"])
    shell.server.submit(kind="imagine", prompt="new rules")
    eventually(lambda: len(shell.server.get("/api/tasks?status=SUCCESS")["tasks"]) == 9)
    pressed = [body["customId"].split("::")[3] for body in shell.sandbox.accepted("/action")]
    assert sorted(pressed) == ["1", "1", "1", "2", "2", "3"]


def plugins_are_listed_with_their_signals_and_deliveries(shell: Shell) -> None:
    """And those whose rule is gone."""
    told = shell.run("plugins")
    assert "rule:upscale\ttask.succeeded\t3 done, 1 fired, 0 waiting, 0 failing, 0 dead" in told
    assert json.loads(shell.run("plugins", "--json"))["plugins"] == []


def tasks_and_events_are_listed(shell: Shell) -> None:
    """Newest first."""
    assert shell.run("tasks").count("SUCCESS") == 3
    assert len(json.loads(shell.run("tasks", "--status", "SUCCESS", "--limit", "2", "--json"))) == 2
    assert "task.succeeded" in shell.run("events", shell.grid)


def new_files_are_not_written_over(shell: Shell, tmp_path: Path) -> None:
    """None of them, when one is there."""
    shell.run("new", "plugin", "mine")
    (tmp_path / "tests" / "test_mine.py").unlink()
    assert "plugins/mine.py already exists" in shell.run("new", "plugin", "mine", code=2)
    assert not (tmp_path / "tests" / "test_mine.py").exists()
    assert "is not a valid name: use lower-case letters" in shell.run("new", "rules", "../x", code=2)


def a_task_is_explained_whatever_its_id_is_made_of(shell: Shell) -> None:
    """A stroke in it is no end of the path."""
    shell.server.http.post(shell.server.hook, json={"id": "a/b?c", "status": "SUBMITTED", "progress": "0%"})
    assert "task a/b?c at main" in shell.run("explain", "a/b?c")
    assert "task 'a/b?c' does not belong to a chain yet" in shell.run("chain", "a/b?c", code=1)


def test_whatever_is_asked_of_a_server_with_one_chain(shell: Shell, tmp_path: Path) -> None:
    """None of it changes anything, so one chain serves them all."""
    explain_tells_who_heard_what_fired_and_why_not(shell)
    costs_count_what_was_spent_and_what_was_not(shell)
    what_if_says_what_new_rules_would_have_submitted(shell, tmp_path)
    plugins_are_listed_with_their_signals_and_deliveries(shell)
    tasks_and_events_are_listed(shell)
    new_files_are_not_written_over(shell, tmp_path)
    a_task_is_explained_whatever_its_id_is_made_of(shell)


def test_what_is_odd_about_an_event_is_told_beneath_it() -> None:
    """Such as a status that nobody knows, or buttons that cannot be read."""
    row = TaskRow(
        upstream="main",
        id="1",
        status="SUCCESS",
        progress=100,
        action="IMAGINE",
        chain_id=None,
        submission_id=None,
        parent_id="",
        depth=0,
        created_at_ms=1,
        updated_at_ms=1,
        finished_at_ms=1,
        looked_at_ms=None,
        misses=0,
    )
    events = [
        Event(
            id=number,
            upstream="main",
            task_id="1",
            submission_id="",
            source="callback",
            signal="task.succeeded",
            action="IMAGINE",
            status="SUCCESS",
            progress=100,
            advanced=True,
            detail=detail,
            payload=b"",
            received_at_ms=1,
            generation=0,
        )
        for number, detail in enumerate(("", "Some buttons cannot be read"))
    ]
    found = Explained(
        task=row,
        payload=b"",
        made_by=None,
        events=events,
        is_cut=False,
        deliveries=[],
        asked_for=[],
        attempts={},
    )
    lines = explanation_lines(extended(ExplainedAnswer, explained_shape(found)))
    assert [line.strip() for line in lines[-2:]] == [lines[-3], "Some buttons cannot be read"]
