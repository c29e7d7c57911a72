"""One submission per intent, for ever; attempts on disk before they leave; fencing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection

from midjourney.requests import Action, Modal, Request
from storage import chains, events, leases, queries, settlements, staging, submissions, tasks, windows
from storage.engine import Database
from storage.errors import LeaseLost
from storage.records import ChainUse, Staged, Submission
from storage.settlements import Settlement
from tests.staged import stage, wanted


def staged(key: str = "k", request: Request | None = None, **fields: Any) -> Staged:
    request = request or Action(task_id="grid", custom_id="MJ::JOB::upsample::1::x")
    return wanted(key, request, **{"label": "U1", "depth": 1, "asked_by": "rule:r"} | fields)


def begin(connection: Connection) -> Submission:
    (begun,) = submissions.begin_attempts(connection, "main", 10, 2)
    return begun


async def test_an_intent_has_one_submission(database: Database) -> None:
    """Twenty ask for the same at the same moment: one is created, all are told its id."""
    results = await asyncio.gather(
        *(database.write("stage", lambda connection: stage(connection, staged())) for _ in range(20))
    )
    assert sum(result.created for result in results) == 1
    assert len({result.submission_id for result in results}) == 1


async def test_the_attempt_is_on_disk_before_the_request_leaves(database: Database) -> None:
    """begin_attempts commits "sending" and the attempt; nobody else can take it then."""
    await database.write("stage", lambda connection: stage(connection, staged()))
    begun = await database.write("begin", begin)
    assert (begun.state, begun.attempts) == ("sending", 1)
    tries = await database.read(lambda connection: queries.attempts_of(connection, begun.id))
    assert [(one.number, one.outcome) for one in tries] == [(1, "sending")]
    assert await database.write("begin", lambda c: submissions.begin_attempts(c, "main", 10, 3)) == []


async def test_the_slower_of_two_settles_nothing(database: Database) -> None:
    """An answer to an attempt that is no longer the current one changes nothing at all."""
    await database.write("stage", lambda connection: stage(connection, staged()))
    begun = await database.write("begin", begin)
    accepted = Settlement(state="accepted", outcome="accepted", reason="", task_ids=("child",))
    await database.write("settle", lambda c: settlements.settle_attempt(c, begun, accepted, 3))
    late = Settlement(state="rejected", outcome="rejected", reason="late", signal="submission.rejected")
    with pytest.raises(LeaseLost):
        await database.write("settle", lambda c: settlements.settle_attempt(c, begun, late, 4))
    found = await database.read(lambda c: submissions.find(c, begun.id))
    assert found is not None
    assert (found.state, found.task_ids) == ("accepted", ("child",))
    assert [event.signal for event in await database.read(lambda c: queries.event_page(c, most=9))] == []


async def test_an_answer_that_comes_after_its_worker_was_given_up_counts(database: Database) -> None:
    """It was silent for too long, so its submission was doubted; nothing knows better than the answer."""
    await database.write("stage", lambda connection: stage(connection, staged()))
    begun = await database.write("begin", begin)
    left = await database.write("release", leases.left_sending)
    assert left == [begun.id]
    assert await database.write("release", lambda c: settlements.doubt(c, left, 3)) == 1
    assert await database.write("release", lambda c: settlements.doubt(c, left, 3)) == 0
    accepted = Settlement(state="accepted", outcome="accepted", reason="", task_ids=("child",))
    await database.write("settle", lambda c: settlements.settle_attempt(c, begun, accepted, 4))
    found = await database.read(lambda c: submissions.find(c, begun.id))
    assert found is not None
    assert (found.state, found.task_ids) == ("accepted", ("child",))
    (last,) = await database.read(lambda connection: queries.attempts_of(connection, begun.id))
    assert last.outcome == "accepted"


async def test_a_window_that_a_person_names_is_not_below_itself(database: Database) -> None:
    """The answer to a window is uncertain; the operator says that it was accepted, and that the window is its task."""
    window = tasks.blank("main", "window", 1)
    await database.write("test", lambda connection: tasks.put(connection, window))
    await database.write("stage", lambda c: stage(c, staged(request=Modal(task_id="window", prompt="a cat"))))
    begun = await database.write("begin", begin)
    await database.write("release", lambda c: settlements.doubt(c, [begun.id], 3))
    await database.write(
        "settle",
        lambda c: settlements.settle_by_hand(c, begun, accepted=True, task_id="window", now_ms=4),
    )
    row = await database.read(lambda connection: tasks.find(connection, "main", "window"))
    assert row is not None
    assert (row.submission_id, row.parent_id) == (begun.id, "")


async def test_an_answer_makes_the_child_and_the_event_together(database: Database) -> None:
    """Code 21: the window's task is in the chain, one deeper, in status MODAL, and the event waits."""
    made = await database.write("stage", lambda connection: stage(connection, staged()))
    begun = await database.write("begin", begin)
    window = Settlement(
        state="needs_modal",
        outcome="needs_modal",
        reason="code 21",
        task_ids=("window",),
        signal="submission.needs_modal",
        child_status="MODAL",
        child_action="ZOOM",
    )
    await database.write("settle", lambda c: settlements.settle_attempt(c, begun, window, 3))
    row, waiting = await database.read(lambda c: (tasks.find(c, "main", "window"), events.pending(c, 9)))
    assert row is not None
    assert (row.chain_id, row.depth, row.status, row.action) == (made.chain_id, 1, "MODAL", "ZOOM")
    assert [(event.signal, event.task_id, event.action) for event in waiting] == [
        ("submission.needs_modal", "window", "ZOOM")
    ]


async def test_a_budget_refusal_is_an_event_and_can_be_released(database: Database) -> None:
    """What the chain may not have is kept and not sent, budget.exceeded says why; a person may let it go, once."""

    def refuse(use: ChainUse, _staged: Staged) -> str:
        return f"used {use.submissions}"

    result = await database.write(
        "stage", lambda connection: staging.stage(connection, staged(), refuse=refuse, now_ms=1)
    )
    assert (result.created, result.refused) == (False, "used 0")
    (event,) = await database.read(lambda c: queries.event_page(c, most=9))
    assert event.signal == "budget.exceeded"
    assert "used 0" in event.detail
    assert await database.write("begin", lambda c: submissions.begin_attempts(c, "main", 9, 9)) == []
    released = [
        await database.write("x", lambda c: staging.release(c, result.submission_id, 5)) for _ in range(2)
    ]
    assert released == [True, False]
    (sent,) = await database.write("begin", lambda c: submissions.begin_attempts(c, "main", 9, 9))
    assert sent.id == result.submission_id


async def test_a_window_lost_to_a_full_queue_repeats_its_action(database: Database) -> None:
    """Plus deletes the MODAL task with code 23: the answer ends, the action waits to be pressed again."""
    made = await database.write("stage", lambda connection: stage(connection, staged()))
    action = await database.write("begin", begin)
    window = Settlement(
        state="needs_modal", outcome="needs_modal", reason="21", task_ids=("window",), child_status="MODAL"
    )
    await database.write("settle", lambda c: settlements.settle_attempt(c, action, window, 3))
    answer = staged("m", Modal(task_id="window", prompt="p"), parent_id="window", chain_id=made.chain_id)
    await database.write("stage", lambda connection: stage(connection, answer))
    modal = await database.write("begin", begin)
    full = Settlement(state="waiting", outcome="rejected:queue_full", reason="code 23", run_at_ms=99)
    await database.write(
        "repeat", lambda c: windows.repeat_action(c, modal, full, 4, delay_ms=lambda tries: 95, most=9)
    )
    again, ended, lost = await database.read(
        lambda c: (
            submissions.find(c, action.id),
            submissions.find(c, modal.id),
            windows.lost_answer(c, action),
        )
    )
    assert again is not None
    assert ended is not None
    assert lost is not None
    assert (again.state, again.run_at_ms) == ("waiting", 99)
    assert ended.state == "rejected"
    assert lost.id == modal.id


async def test_the_first_child_becomes_the_root(database: Database) -> None:
    """A chain that an imagine starts has its root once the imagine is accepted."""
    made = await database.write("stage", lambda connection: stage(connection, staged(parent_id="")))
    begun = await database.write("begin", begin)
    accepted = Settlement(state="accepted", outcome="accepted", reason="", task_ids=("root",))
    await database.write("settle", lambda c: settlements.settle_attempt(c, begun, accepted, 3))
    chain = await database.read(lambda c: chains.find(c, made.chain_id))
    assert chain is not None
    assert (chain.root_task_id, chain.submissions) == ("root", 1)
