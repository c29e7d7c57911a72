"""A task that hangs is reported once, to those who want to know."""

from __future__ import annotations

from typing import Any

import pytest

from hookchain import task_overdue, task_progressed
from storage.clock import now_ms
from storage.tasks import hanging
from storage.tasks import rows as tasks

CANCEL = """
[[rules]]
name = "end-it"
on = "task.overdue"
cancel = true
"""


@pytest.fixture
def hurried(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What was silent for a fifth of a second hangs, and is found at once; its upstream confirms soon that there is such a task."""
    monkeypatch.setattr("dispatcher.loops.loop.POLL_S", 0.1)
    monkeypatch.setattr("dispatcher.loops.hanging.EVERY_S", 0.05)
    bench.options |= {"overdue_after_s": 0.2, "quiet_s": 0.05}
    return bench


async def turns(bench: Any, number: int) -> None:
    """Until the loop has looked so often."""
    loop = next(loop for loop in bench._worker._loops if loop.name == "report hanging tasks")
    seen, turn = 0, loop._turn

    async def counted() -> None:
        nonlocal seen
        await turn()
        seen += 1
        await bench.database.write("looked", lambda _: None)

    loop._turn = counted

    async def enough() -> bool:
        return seen >= number

    await bench.until(enough)


async def reported(bench: Any) -> list[str]:
    """The tasks that were reported, in order."""
    return [event.task_id for event in await bench.events() if event.signal == "task.overdue"]


async def test_a_task_without_news_is_reported_once(hurried: Any) -> None:
    """However often the loop looks. The receiver gets the task as it is."""
    heard: list[tuple[str, str]] = []

    @task_overdue.connect
    def listen(action: str, *, task: Any, **_: Any) -> None:
        heard.append((task.id, task.status))

    await hurried.start()
    await hurried.callback(status="IN_PROGRESS", progress="40%", buttons=[])

    async def told() -> bool:
        return bool(heard)

    await hurried.until(told)
    await turns(hurried, 3)
    await hurried.until_quiet()
    assert heard == [("grid", "IN_PROGRESS")]
    assert await reported(hurried) == ["grid"]


async def test_a_rule_ends_what_hangs(hurried: Any) -> None:
    """Cancelling costs nothing."""
    hurried.rules(CANCEL)
    await hurried.start()
    await hurried.callback(status="IN_PROGRESS", progress="40%", buttons=[])

    async def asked() -> bool:
        return bool(await hurried.submissions(kind="cancel"))

    await hurried.until(asked)


async def test_a_modal_does_not_hang(hurried: Any) -> None:
    """It waits for an answer. Nor does a task that has ended."""
    hurried.rules(CANCEL)
    await hurried.start()
    await hurried.callback("window", status="MODAL", progress="0%", buttons=[])
    await hurried.callback("ended")
    await turns(hurried, 8)
    assert await reported(hurried) == []


async def test_nothing_is_searched_for_nobody(hurried: Any) -> None:
    """Without a receiver of the signal no event is written."""

    @task_progressed.connect
    def other(action: str, **_: Any) -> None: ...

    await hurried.start()
    await hurried.callback(status="IN_PROGRESS", progress="40%", buttons=[])
    await turns(hurried, 8)
    assert await reported(hurried) == []


async def test_a_task_that_ended_meanwhile_is_left_alone(bench: Any) -> None:
    """The report waits for its receiver, and the task ends before it runs."""
    heard: list[str] = []

    @task_overdue.connect
    def listen(action: str, *, task: Any, **_: Any) -> None:
        heard.append(task.id)

    await bench.callback(status="IN_PROGRESS", progress="40%", buttons=[])
    later_ms = now_ms() + 3_600_000
    row = await bench.database.read(lambda connection: tasks.find(connection, "main", "grid"))
    await bench.database.write("test", lambda c: hanging.report(c, [row], later_ms, later_ms))
    await bench.callback()
    await bench.start()
    await bench.until_quiet()
    assert heard == []
    assert "did not run: the task has ended in the meantime" in [
        one.decision for one in await bench.deliveries()
    ]


async def test_two_processes_report_a_task_once(bench: Any) -> None:
    """Both have found it; the second one sees the report of the first."""
    await bench.callback(status="IN_PROGRESS", progress="40%", buttons=[])
    later_ms = now_ms() + 3_600_000
    row = await bench.database.read(lambda connection: tasks.find(connection, "main", "grid"))
    first, second = [
        await bench.database.write("test", lambda c: hanging.report(c, [row], later_ms, later_ms))
        for _ in range(2)
    ]
    assert (first, second) == (["grid"], [])
