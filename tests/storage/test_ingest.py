"""Callbacks become events and move tasks, once and forward."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from midjourney.decode import decode_task
from midjourney.requests import Modal
from storage import schema
from storage.duty import held
from storage.duty.duties import SUBMISSIONS
from storage.engine import Database
from storage.events import event_log
from storage.records import Incoming, PendingEvent, TaskRow
from storage.submissions import interrupted, settlements, submission_queue
from storage.tasks import questions
from storage.tasks import rows as tasks
from storage.tasks.believe import TaskReport, believe
from tests.support.staged import stage, wanted

STATUSES = ["SUBMITTED", "IN_PROGRESS", "SUCCESS", "FAILURE", "CANCEL", "MODAL", "", "PAUSED"]


def incoming(task_id: str = "1", submission_id: str = "", **fields: Any) -> Incoming:
    payload = {"id": task_id, "action": "IMAGINE", "status": "SUBMITTED", "progress": "0%"} | fields
    return Incoming(
        upstream="main",
        task=decode_task(json.dumps(payload).encode()),
        submission_id=submission_id,
        source="callback",
        received_at_ms=1,
    )


def all_events(connection: Connection) -> list[tuple[bytes, str | None]]:
    found = connection.execute(
        select(schema.events.c.payload, schema.events.c.signal).order_by(schema.events.c.id)
    )
    return [(row.payload, row.signal) for row in found]


def signals_of(found: list[tuple[bytes, str | None]]) -> list[str]:
    return [signal for _, signal in found if signal is not None]


async def test_a_repeated_callback_changes_nothing(database: Database) -> None:
    """SUCCESS three times: three events kept, one signal."""
    for _ in range(3):
        await database.append(incoming(status="SUCCESS"))
    found = await database.read(all_events)
    assert len(found) == 3
    assert signals_of(found) == ["task.succeeded"]


async def test_callbacks_of_one_batch_see_each_other(database: Database) -> None:
    """All states of a task at the same moment: each signal once, in the order of arrival."""
    states = ["SUBMITTED", "IN_PROGRESS", "IN_PROGRESS", "SUCCESS", "IN_PROGRESS", "SUCCESS"]
    await asyncio.gather(*(database.append(incoming(status=status)) for status in states))
    found = await database.read(all_events)
    assert len(found) == 6
    assert signals_of(found) == ["task.submitted", "task.started", "task.succeeded"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(STATUSES), st.integers(0, 100)), max_size=20)
)
async def test_whatever_arrives_is_kept_and_ends_once(
    database: Database, arrived: list[tuple[str, str, int]]
) -> None:
    """Any states of three tasks in any order, together: all bytes kept in order, at most one end a task."""
    before = len(await database.read(all_events))
    prefix = f"{before}-"
    sent = [incoming(prefix + one, status=status, progress=f"{percent}%") for one, status, percent in arrived]
    await asyncio.gather(*(database.append(one) for one in sent))
    found = (await database.read(all_events))[before:]
    assert [payload for payload, _ in found] == [one.task.raw for one in sent]
    for task_id in "abc":
        ended = [
            signal
            for one, (_, signal) in zip(sent, found, strict=True)
            if one.task.id == prefix + task_id
            and signal in ("task.succeeded", "task.failed", "task.cancelled")
        ]
        assert len(ended) <= 1


async def test_two_upstreams_may_use_the_same_id(database: Database) -> None:
    """A task is (upstream, id)."""
    first, second = incoming(status="SUCCESS"), incoming(status="FAILURE")
    await database.append(first)
    await database.append(
        Incoming(**{name: getattr(second, name) for name in second.__struct_fields__} | {"upstream": "other"})
    )
    rows = await database.read(
        lambda connection: [tasks.find(connection, name, "1") for name in ("main", "other")]
    )
    assert [row.status for row in rows if row] == ["SUCCESS", "FAILURE"]


async def test_a_callback_by_a_submissions_path_is_a_claim(database: Database) -> None:
    """It ties nothing, and is told to nobody, before the upstream has been asked; that is to happen at once."""
    submission_id = await database.write("stage", lambda c: stage(c, wanted("k")).submission_id)
    recorded = await database.append(incoming("9", submission_id, status="SUCCESS"))
    row, waiting = await database.read(
        lambda connection: (tasks.find(connection, "main", "9"), event_log.pending(connection, 10))
    )
    assert recorded.asks
    assert row is not None
    assert (row.submission_id, row.chain_id, row.confirmed) == (None, None, False)
    assert waiting == []


async def test_a_task_that_the_upstream_shows_with_its_mark_is_tied(database: Database) -> None:
    """Then it is in the submission's chain, and told."""
    submission_id = await database.write("stage", lambda c: stage(c, wanted("k")).submission_id)
    call = incoming("9", submission_id, status="SUCCESS", state=submission_id)
    await database.append(call)
    report = TaskReport(upstream="main", task_id="9", task=call.task, asked_at_ms=9)
    await database.write("believe", partial(believe, report=report, now_ms=9))
    row, submission, waiting = await database.read(
        lambda connection: (
            tasks.find(connection, "main", "9"),
            submission_queue.find(connection, submission_id),
            event_log.pending(connection, 10),
        )
    )
    assert row is not None
    assert submission is not None
    assert (row.submission_id, row.chain_id, row.confirmed) == (submission_id, submission.chain_id, True)
    assert [event.signal for event in waiting] == ["task.succeeded"]


async def test_a_task_that_an_answer_named_is_tied_by_its_path(database: Database) -> None:
    """The upstream itself has said whose it is."""
    submission_id = await database.write("stage", lambda c: stage(c, wanted("k")).submission_id)
    (begun,) = await database.write("begin", lambda c: submission_queue.begin_attempts(c, "main", 1, 2))
    settled = settlements.Settlement(state="accepted", outcome="accepted", reason="", task_ids=("9",))
    await database.write("settle", lambda c: settlements.settle_attempt(c, begun, settled, 3))
    await database.append(incoming("9", submission_id))
    row = await database.read(lambda connection: tasks.find(connection, "main", "9"))
    assert row is not None
    assert row.submission_id == submission_id


async def test_a_path_of_nobody_ties_nothing(database: Database) -> None:
    """A made-up submission id is a plain callback."""
    await database.append(incoming("9", "nobody"))
    row = await database.read(lambda connection: tasks.find(connection, "main", "9"))
    assert row is not None
    assert row.submission_id is None
    assert row.chain_id is None


async def uncertain(database: Database) -> str:
    """A submission that nobody is certain of."""
    submission_id = await database.write("stage", lambda c: stage(c, wanted("k")).submission_id)

    def doubt(connection: Connection) -> None:
        submission_queue.begin_attempts(connection, "main", 1, 2)
        interrupted.give_back(
            connection, [held.attempt_of(row) for row in held.left(connection, SUBMISSIONS)], 3
        )

    await database.write("doubt", doubt)
    return submission_id


async def test_a_callback_alone_proves_no_submission(database: Database) -> None:
    """Anybody who has seen its hook can send one."""
    submission_id = await uncertain(database)
    await database.append(incoming("9", submission_id, state=submission_id))
    found = await database.read(lambda connection: submission_queue.find(connection, submission_id))
    assert found is not None
    assert found.state == "uncertain"


async def test_the_upstream_proves_an_uncertain_submission(database: Database) -> None:
    """It shows a task with the submission's mark, so it is accepted and never sent again."""
    submission_id = await uncertain(database)
    task = incoming("9", state=submission_id).task
    report = TaskReport(upstream="main", task_id="9", task=task, asked_at_ms=9)
    await database.write("believe", partial(believe, report=report, now_ms=9))
    found = await database.read(lambda connection: submission_queue.find(connection, submission_id))
    assert found is not None
    assert (found.state, found.task_ids) == ("accepted", ("9",))


async def test_a_window_stays_where_it_was_when_its_answer_is_proven(database: Database) -> None:
    """Somebody else opened two windows, one below a grid that nobody knows; both are answered, and move on."""
    for window, parent in (("lone", ""), ("below", "grid")):
        await database.append(incoming(window, status="MODAL", parentId=parent))
        answer = wanted(window, Modal(task_id=window, prompt="a cat"))
        made = await database.write("stage", partial(stage, staged=answer))
        await database.append(incoming(window, made.submission_id, status="SUBMITTED", parentId=parent))
    rows = await database.read(lambda connection: tasks.find_all(connection, "main", ["lone", "below"]))
    assert {row.id: row.parent_id for row in rows.values()} == {"lone": "", "below": "grid"}


async def test_an_unknown_task_waits_for_the_answers_it_may_belong_to(database: Database) -> None:
    """While a submit is on its way, a task nobody knows may be its child: told now, it would pass for a root."""
    submission_id = await database.write("stage", lambda c: stage(c, wanted("k")).submission_id)
    begun = await database.write(
        "begin", lambda connection: submission_queue.begin_attempts(connection, "main", 1, 1)
    )
    await database.append(incoming("9", status="SUCCESS"))

    def waiting(connection: Connection) -> list[PendingEvent]:
        return event_log.pending(connection, 10)

    assert await database.read(waiting) == []
    settlement = settlements.Settlement(state="accepted", outcome="accepted", reason="", task_ids=("9",))
    await database.write(
        "settle", lambda connection: settlements.settle_attempt(connection, begun[0], settlement, 5)
    )
    assert [event.task_id for event in await database.read(waiting)] == ["9"]
    row = await database.read(lambda connection: tasks.find(connection, "main", "9"))
    assert isinstance(row, TaskRow)
    assert row.submission_id == submission_id
    assert row.status == "SUCCESS"


@pytest.mark.parametrize("is_lost", [True, False], ids=["a callback was lost", "all were kept"])
@pytest.mark.parametrize("is_first", [True, False], ids=["the first one", "a later one"])
async def test_an_answer_leaves_a_poll_that_a_lost_callback_needs(
    database: Database, is_lost: bool, is_first: bool
) -> None:
    """It was too large, and came before the answer: the answer names the task, but does not say how it ended."""
    submission_id = await database.write("stage", lambda c: stage(c, wanted("k")).submission_id)
    (begun,) = await database.write("begin", lambda c: submission_queue.begin_attempts(c, "main", 1, 1))
    if not (is_lost and is_first):
        await database.append(incoming("9", submission_id))
    if is_lost:
        lost = partial(
            questions.ask_soon, upstream="main", submission_id=submission_id, task_id="9", now_ms=4
        )
        await database.write("ask", lost)
    settled = settlements.Settlement(state="accepted", outcome="accepted", reason="", task_ids=("9",))
    await database.write("settle", lambda c: settlements.settle_attempt(c, begun, settled, 5))
    row = await database.read(lambda connection: tasks.find(connection, "main", "9"))
    assert row is not None
    assert row.ask_at_ms == (4 if is_lost else None)


async def test_an_end_that_a_forger_told_first_is_told_again(database: Database) -> None:
    """The forged SUCCESS names another action, and the upstream is polled before any receiver asked: those who listen to the
    true action hear of it."""
    await database.append(incoming("9", status="SUCCESS", action="DESCRIBE"))
    true = incoming("9", status="SUCCESS", action="IMAGINE")
    report = TaskReport(upstream="main", task_id="9", task=true.task, asked_at_ms=9)
    for _ in range(2):
        await database.write("believe", partial(believe, report=report, now_ms=9))
    waiting = await database.read(lambda connection: event_log.pending(connection, 10))
    assert [(event.signal, event.action) for event in waiting] == [("task.succeeded", "IMAGINE")]


async def test_a_true_end_that_came_after_a_forged_one_is_told(database: Database) -> None:
    """By a hook of another submission a task was said to have ended, before its own callback came by the registered one."""
    submission_id = await database.write("stage", lambda c: stage(c, wanted("k")).submission_id)
    await database.append(incoming("9", submission_id, status="SUCCESS", prompt="forged"))
    true = incoming("9", status="SUCCESS", prompt="true")
    await database.append(true)
    report = TaskReport(upstream="main", task_id="9", task=true.task, asked_at_ms=9)
    await database.write("believe", partial(believe, report=report, now_ms=9))
    waiting = await database.read(lambda connection: event_log.pending(connection, 10))
    assert [event.signal for event in waiting] == ["task.succeeded"]


async def test_a_submissions_hook_opens_no_task_of_others(database: Database) -> None:
    """What came by it alone is forgotten; when the task's own callback comes, it is news."""
    submission_id = await database.write("stage", lambda c: stage(c, wanted("k")).submission_id)
    call = incoming("9", submission_id, status="SUCCESS")
    await database.append(call)
    report = TaskReport(upstream="main", task_id="9", task=call.task, asked_at_ms=9)
    await database.write("believe", partial(believe, report=report, now_ms=9))
    row, waiting = await database.read(
        lambda connection: (tasks.find(connection, "main", "9"), event_log.pending(connection, 10))
    )
    assert (row, waiting) == (None, [])
    await database.append(incoming("9", status="SUCCESS"))
    waiting = await database.read(lambda connection: event_log.pending(connection, 10))
    assert [event.signal for event in waiting] == ["task.succeeded"]
