"""One submission per intent, for ever; attempts on disk before they leave; fencing."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from midjourney.requests import Action, Modal, Request
from storage import schema
from storage.duty import held
from storage.duty.duties import SUBMISSIONS
from storage.duty.held import Held
from storage.engine import Database
from storage.errors import LeaseLost
from storage.events import event_log
from storage.reading import pages
from storage.records import ChainUse, Staged, Submission
from storage.submissions import (
    children,
    interrupted,
    modals,
    proof,
    releases,
    settlements,
    staging,
    submission_queue,
)
from storage.submissions.settlements import Settlement
from storage.tasks import chains
from storage.tasks import rows as tasks
from tests.support.staged import stage, wanted


def staged(key: str = "k", request: Request | None = None, **fields: Any) -> Staged:
    request = request or Action(task_id="grid", custom_id="MJ::JOB::upsample::1::x")
    return wanted(key, request, **{"label": "U1", "depth": 1, "asked_by": "rule:r"} | fields)


def begin(connection: Connection) -> Submission:
    (begun,) = submission_queue.begin_attempts(connection, "main", 10, 2)
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
    tries = await database.read(lambda connection: pages.attempts_of(connection, begun.id))
    assert [(one.number, one.outcome) for one in tries] == [(1, "sending")]
    assert await database.write("begin", lambda c: submission_queue.begin_attempts(c, "main", 10, 3)) == []


async def test_the_slower_of_two_settles_nothing(database: Database) -> None:
    """An answer to an attempt that is no longer the current one changes nothing at all."""
    await database.write("stage", lambda connection: stage(connection, staged()))
    begun = await database.write("begin", begin)
    accepted = Settlement(state="accepted", outcome="accepted", reason="", task_ids=("child",))
    await database.write("settle", lambda c: settlements.settle_attempt(c, begun, accepted, 3))
    late = Settlement(state="rejected", outcome="rejected", reason="late", signal="submission.rejected")
    with pytest.raises(LeaseLost):
        await database.write("settle", lambda c: settlements.settle_attempt(c, begun, late, 4))
    found = await database.read(lambda c: submission_queue.find(c, begun.id))
    assert found is not None
    assert (found.state, found.task_ids) == ("accepted", ("child",))
    assert [event.signal for event in await database.read(lambda c: pages.event_page(c, most=9))] == []


async def test_an_answer_that_comes_after_its_worker_was_given_up_counts(database: Database) -> None:
    """It was silent for too long, so its submission became uncertain; nothing knows better than the answer."""
    await database.write("stage", lambda connection: stage(connection, staged()))
    begun = await database.write("begin", begin)
    left = await database.write(
        "release", lambda c: [held.attempt_of(row) for row in held.left(c, SUBMISSIONS)]
    )
    assert left == [Held(begun.id, 1)]
    assert await database.write("release", lambda c: interrupted.give_back(c, left, 3)) == 1
    assert await database.write("release", lambda c: interrupted.give_back(c, left, 3)) == 0
    accepted = Settlement(state="accepted", outcome="accepted", reason="", task_ids=("child",))
    await database.write("settle", lambda c: settlements.settle_attempt(c, begun, accepted, 4))
    found = await database.read(lambda c: submission_queue.find(c, begun.id))
    assert found is not None
    assert (found.state, found.task_ids) == ("accepted", ("child",))
    (last,) = await database.read(lambda connection: pages.attempts_of(connection, begun.id))
    assert last.outcome == "accepted"


async def test_an_attempt_that_never_left_is_no_try(database: Database) -> None:
    """Its process stopped in between, as often as it may: it is not the upstream that could not be reached."""
    await database.write("stage", lambda connection: stage(connection, staged()))
    for number in range(1, 4):
        begun = await database.write("begin", begin)
        assert (begun.attempts, begun.tries) == (number, 1)
        give_back = partial(
            interrupted.give_back,
            held=[Held(begun.id, begun.attempts)],
            now_ms=2,
            may_have_left=lambda _submission: False,
        )
        uncertain = await database.write("release", give_back)
        assert uncertain == 0


async def test_an_attempt_whose_task_is_there_is_a_try(database: Database) -> None:
    """Whatever the notes of its process say: a task that carries its mark shows that it left."""
    await database.write("stage", lambda connection: stage(connection, staged()))
    begun = await database.write("begin", begin)

    def interrupt(connection: Connection) -> int:
        row = children.placed(tasks.blank("main", "child", 2), begun)
        tasks.hold(connection, "main", ["child"], 2)
        tasks.put(connection, row)
        return interrupted.give_back(connection, [Held(begun.id, 1)], 3, lambda _submission: False)

    assert await database.write("release", interrupt) == 0
    found = await database.read(lambda c: submission_queue.find(c, begun.id))
    assert found is not None
    assert (found.state, found.task_ids, found.tries) == ("accepted", ("child",), 1)


async def test_what_another_worker_sends_by_now_is_not_given_back(database: Database) -> None:
    """Between the question what we held and the answer to it, somebody else has begun the next attempt."""
    await database.write("stage", lambda connection: stage(connection, staged()))
    begun = await database.write("begin", begin)
    not_sent = Settlement(state="waiting", outcome="not_sent", reason="", run_at_ms=2)
    await database.write("settle", lambda c: settlements.settle_attempt(c, begun, not_sent, 2))
    assert (await database.write("begin", begin)).attempts == 2
    given_back = await database.write(
        "release", lambda c: interrupted.give_back(c, [Held(begun.id, begun.attempts)], 3)
    )
    found = await database.read(lambda c: submission_queue.find(c, begun.id))
    assert found is not None
    assert (given_back, found.state) == (0, "sending")


async def test_all_that_a_dead_worker_was_sending_is_found(database: Database) -> None:
    """On a file, whoever comes next asks once: what it did not find would be under way for ever."""

    def send(connection: Connection) -> int:
        for number in range(3):
            stage(connection, staged(f"k{number}"))
        submission_queue.begin_attempts(connection, "main", 9, 2, worker="gone")
        table = schema.submissions
        (row, *_) = connection.execute(select(table)).mappings().all()
        copies = [{**row, "id": f"copy{n}", "idempotency_key": f"copy{n}"} for n in range(1100)]
        connection.execute(insert(table), copies)
        return len(held.left(connection, SUBMISSIONS))

    assert await database.write("send", send) == 1103


async def test_a_window_that_a_person_names_is_not_below_itself(database: Database) -> None:
    """The answer to a window is uncertain; the operator says that it was accepted, and that the window is its task."""
    window = tasks.blank("main", "window", 1)
    await database.write("test", lambda connection: tasks.put(connection, window))
    await database.write("stage", lambda c: stage(c, staged(request=Modal(task_id="window", prompt="a cat"))))
    begun = await database.write("begin", begin)
    await database.write("release", lambda c: interrupted.give_back(c, [Held(begun.id, 1)], 3))
    await database.write(
        "settle",
        lambda c: proof.settle_by_hand(c, begun, accepted=True, task_id="window", now_ms=4),
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
    row, waiting = await database.read(lambda c: (tasks.find(c, "main", "window"), event_log.pending(c, 9)))
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
    (event,) = await database.read(lambda c: pages.event_page(c, most=9))
    assert event.signal == "budget.exceeded"
    assert "used 0" in event.detail
    assert await database.write("begin", lambda c: submission_queue.begin_attempts(c, "main", 9, 9)) == []
    released = [
        await database.write("x", lambda c: releases.release(c, result.submission_id, 5, by="person:test"))
        for _ in range(2)
    ]
    assert released == [True, False]
    (sent,) = await database.write("begin", lambda c: submission_queue.begin_attempts(c, "main", 9, 9))
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
        "repeat", lambda c: modals.repeat_action(c, modal, full, 4, delay_ms=lambda tries: 95, most=9)
    )
    again, ended, lost = await database.read(
        lambda c: (
            submission_queue.find(c, action.id),
            submission_queue.find(c, modal.id),
            modals.lost_answer(c, action),
        )
    )
    assert again is not None
    assert ended is not None
    assert lost is not None
    assert (again.state, again.run_at_ms) == ("waiting", 99)
    assert ended.state == "rejected"
    assert lost.id == modal.id


async def test_an_action_whose_window_is_lost_too_often_is_told_to_be_dead(database: Database) -> None:
    """As with every other way to die: a plugin hears submission.dead, and a person finds a dead letter."""
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
    runs_at_ms = await database.write(
        "repeat", lambda c: modals.repeat_action(c, modal, full, 4, delay_ms=lambda _tries: 95, most=1)
    )
    assert runs_at_ms == 0
    found = await database.read(lambda c: submission_queue.find(c, action.id))
    assert found is not None
    assert found.state == "dead"
    events = await database.read(lambda c: event_log.pending(c, 9))
    assert [(one.signal, one.task_id) for one in events] == [("submission.dead", "grid")]


async def test_the_first_child_becomes_the_root(database: Database) -> None:
    """A chain that an imagine starts has its root once the imagine is accepted."""
    made = await database.write("stage", lambda connection: stage(connection, staged(parent_id="")))
    begun = await database.write("begin", begin)
    accepted = Settlement(state="accepted", outcome="accepted", reason="", task_ids=("root",))
    await database.write("settle", lambda c: settlements.settle_attempt(c, begun, accepted, 3))
    chain = await database.read(lambda c: chains.find(c, made.chain_id))
    assert chain is not None
    assert (chain.root_task_id, chain.submissions) == ("root", 1)
