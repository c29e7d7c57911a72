"""What it costs to believe nobody, and what becomes of tasks that an upstream does not show. `tests/hostile` is that upstream;
it shares no code with the product or its sandbox, and its ledger is the judge.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from storage.ingest import ASKED_AFTER_MS
from tests.hostile.ledger import Read
from tests.hostile.tasks import Task
from tests.hostile.upstream import Hostile
from tests.support.witness import UPSCALE_ALL, UPSCALES, labels_of, presses_of, wait_for_an_honest_chain

NOT_POLLED_S = 600.0
"""`quiet_s` where nothing may be read because a task is silent."""

THREE_RULES = (
    UPSCALE_ALL
    + """
[[rules]]
name = "vary"
on = "{on}"
if = "task.prompt == 'a cat'"
press = "V1"

[[rules]]
name = "tell"
on = "{on}"
forward = {{ url = "{sink}/one" }}

[[rules]]
name = "tell-another"
on = "{on}"
forward = {{ url = "{sink}/other" }}
"""
)
LONG_AGO_MS = 120_000
MISSED = 3
"""One miss more, and a task is lost."""


# 2. One read for an event that somebody listens to.


def test_one_read_serves_three_rules(start_hostile: Any, serve: Any, eventually: Any) -> None:
    """Two forwards and a press, of one SUCCESS that has just come."""
    upstream = start_hostile()
    rules = THREE_RULES.format(on="task.succeeded", sink=upstream.sink)
    server = serve(upstream, rules, quiet_s=NOT_POLLED_S)
    task = upstream.finished_grid("a cat")
    told_s = time.time()
    upstream.tell(task, server.hook)
    wait_for_an_honest_chain(server, upstream, eventually)
    assert labels_of(presses_of(upstream, task)) == [*UPSCALES, "variation 1"]
    for path in ("/sink/one", "/sink/other"):
        told = [one.body["data"]["task"]["id"] for one in upstream.ledger.forwarded() if one.path == path]
        assert told.count(task.id) == 1
    # An end that nothing has confirmed within this time is asked about by another loop as well: a slow machine.
    in_time = [one for one in upstream.ledger.asked(task.id) if one.at_s < told_s + ASKED_AFTER_MS / 1000]
    assert len(in_time) <= 1
    assert upstream.ledger.asked(task.id)


@pytest.mark.parametrize(
    ("on", "reads"), [("task.succeeded", 0), ("task.progressed", 3)], ids=["nobody listens", "a rule listens"]
)
def test_progress_is_read_only_where_somebody_listens(
    start_hostile: Any, serve: Any, eventually: Any, on: str, reads: int
) -> None:
    """A submission by another program runs: it has started, then progresses three times."""
    upstream = start_hostile()
    rules = f'[[rules]]\nname = "tell"\non = "{on}"\nforward = {{ url = "{upstream.sink}" }}\n'
    server = serve(upstream, UPSCALE_ALL + rules, quiet_s=NOT_POLLED_S)
    task = upstream.running()
    upstream.tell(task, server.hook)
    for percent in (50, 70, 90):
        task.go(percent)
        upstream.tell(task, server.hook)
    wait_for_an_honest_chain(server, upstream, eventually)
    events = server.get(f"/api/events?task_id={task.id}")["events"]
    assert len([one for one in events if one["source"] == "callback"]) == 4
    asked = len(upstream.ledger.asked(task.id))
    assert min(1, reads) <= asked <= reads  # fewer where one answer came in time for two


def test_tasks_that_are_due_together_are_read_together(
    start_hostile: Any, serve: Any, eventually: Any
) -> None:
    """Twelve run while the server stops; when it starts again it asks about all of them, with one question."""
    upstream = start_hostile()
    server = serve(upstream, quiet_s=NOT_POLLED_S)
    tasks = [upstream.running() for _ in range(12)]
    for task in tasks:
        upstream.tell(task, server.hook)
    server.stop()
    before = len(upstream.ledger.reads)
    server = serve(upstream, quiet_s=NOT_POLLED_S)
    wait_for_an_honest_chain(server, upstream, eventually)
    [asked] = eventually(lambda: asked_about(upstream, tasks, before))
    assert asked.how == "list-by-condition"
    assert {task.id for task in tasks} <= set(asked.ids)  # on a slow machine the honest grid's too


def asked_about(upstream: Hostile, tasks: list[Task], since: int = 0) -> list[Read]:
    """The questions about any of these tasks, after so many others."""
    ids = {task.id for task in tasks}
    return [one for one in upstream.ledger.reads[since:] if ids & set(one.ids)]


# 4. Tasks that a list leaves out, and tasks that are lost. It takes a minute until a task is lost: the file is aged instead, while
# no server runs.


def age(tmp_path: Path, *, misses: int = MISSED, **columns: int) -> None:
    """Let the tasks in the database be old, missed so often already, and with these columns."""
    sets = "".join(f", {name} = {value}" for name, value in columns.items())
    with closing(sqlite3.connect(tmp_path / "hookchain.db")) as connection, connection:
        connection.execute(
            f"UPDATE tasks SET created_at_ms = created_at_ms - {LONG_AGO_MS}, misses = {misses}{sets}"
        )


def status_of(server: Any, task: Task) -> Any:
    """What the server shows."""
    return server.get(f"/api/tasks/main/{task.id}")["status"]


def known_tasks(upstream: Hostile, server: Any, eventually: Any, count: int) -> list[Task]:
    """Tasks of others that run, and that the server has asked about: so it knows that they exist."""
    tasks = [upstream.running() for _ in range(count)]
    for task in tasks:
        upstream.tell(task, server.hook)
    eventually(lambda: all(upstream.ledger.asked(task.id) for task in tasks))
    before = len(upstream.ledger.reads)
    eventually(lambda: len(asked_about(upstream, tasks, before)) > 1)  # what was answered before is kept
    return tasks


@pytest.mark.parametrize(
    "manner", [{"batch_at_most": 2}, {"batch_misses": True}], ids=["two at most", "none"]
)
def test_what_a_list_leaves_out_is_not_lost(
    start_hostile: Any, serve: Any, eventually: Any, tmp_path: Path, manner: dict[str, Any]
) -> None:
    """Six tasks run, each one miss away from being lost, and the bulk list answers about two of them, or about none."""
    upstream = start_hostile(**manner)
    server = serve(upstream)
    tasks = known_tasks(upstream, server, eventually, 6)
    server.stop()
    age(tmp_path)
    before = len(upstream.ledger.reads)
    server = serve(upstream)
    eventually(lambda: {i for one in asked_about(upstream, tasks, before) for i in one.ids})
    for task in tasks:
        upstream.finish(task)
        upstream.tell(task, server.hook)
    wait_for_an_honest_chain(server, upstream, eventually)
    left_out = [task for task in tasks if upstream.ledger.asked(task.id, "fetch")]
    assert len(left_out) >= 6 - manner.get("batch_at_most", 0)
    assert [status_of(server, task) for task in tasks] == ["SUCCESS"] * 6
    assert server.get("/api/events?signal=task.lost")["events"] == []
    assert [labels_of(presses_of(upstream, task)) for task in tasks] == [UPSCALES] * 6


def test_the_size_of_a_list_is_learned(start_hostile: Any, serve: Any, eventually: Any) -> None:
    """It answers about two of six: later it is asked about two at a time."""
    upstream = start_hostile(batch_at_most=2)
    server = serve(upstream)
    tasks = [upstream.running() for _ in range(6)]
    for task in tasks:
        upstream.tell(task, server.hook)
    eventually(lambda: "lists are short" in server.output)
    before = len(upstream.ledger.reads)

    def sizes() -> list[int]:
        return [len(one.ids) for one in asked_about(upstream, tasks, before) if "list" in one.how]

    eventually(lambda: sizes()[1:])  # one may have been under way
    assert set(sizes()[1:]) == {2}


def test_a_task_is_lost_after_misses_in_a_row_and_taken_back(
    start_hostile: Any, serve: Any, eventually: Any, tmp_path: Path
) -> None:
    """The upstream forgets a task; it is lost. It finds it again, done: it is upscaled, and the story tells both."""
    upstream = start_hostile()
    server = serve(upstream)
    [task] = known_tasks(upstream, server, eventually, 1)
    server.stop()
    age(tmp_path)
    upstream.forget(task)
    server = serve(upstream)
    eventually(lambda: status_of(server, task) == "LOST")
    server.stop()
    upstream.remember(task)
    upstream.finish(task)
    age(tmp_path, misses=0, ask_at_ms=1)
    server = serve(upstream)
    eventually(lambda: status_of(server, task) == "SUCCESS")
    eventually(lambda: len(presses_of(upstream, task)) >= 4)
    wait_for_an_honest_chain(server, upstream, eventually)
    assert labels_of(presses_of(upstream, task)) == UPSCALES
    events = server.get(f"/api/events?task_id={task.id}")["events"]
    signals = [one["signal"] for one in events if one["signal"] in ("task.lost", "task.succeeded")]
    assert sorted(signals) == ["task.lost", "task.succeeded"]


def test_misses_count_in_a_row_only(start_hostile: Any, serve: Any, eventually: Any, tmp_path: Path) -> None:
    """A task that was missed three times is found, and missed once more much later: that is the first miss of a new row."""
    upstream = start_hostile()
    server = serve(upstream)
    [task] = known_tasks(upstream, server, eventually, 1)
    server.stop()
    age(tmp_path)

    def restart_and_ask() -> Any:
        before = len(upstream.ledger.reads)
        server = serve(upstream)
        eventually(lambda: asked_about(upstream, [task], before))
        wait_for_an_honest_chain(server, upstream, eventually)
        return server

    restart_and_ask().stop()
    upstream.forget(task)
    assert status_of(restart_and_ask(), task) == "IN_PROGRESS"
