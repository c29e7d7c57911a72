"""Held submissions: nothing sends them but a decision, and the first decision counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from zoneinfo import ZoneInfo

import msgspec
import pytest
from sqlalchemy import Connection, func, select

from dispatcher.policy.period_budgets import Budgets, PeriodBudget
from storage import clock_steps, ended_chains, schema
from storage.budgets.billing import PLAN
from storage.engine import Database, write_engine
from storage.pruning import Cursor
from storage.records import ApprovalTerms
from storage.submissions import adoption, approvals, dead_submissions, decisions, releases, submission_queue
from storage.tasks import chains
from storage.tasks import rows as tasks
from tests.support.duties import task
from tests.support.held import HOUR_MS, RULE, by_label, fire, held, press, states
from tests.support.staged import stage, wanted

NOW_MS = 1_000_000
SEND = ApprovalTerms(for_ms=HOUR_MS, otherwise="send")


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """One transaction on an empty database, which leaves nothing behind."""
    engine = write_engine(database_url)
    with engine.connect() as opened, opened.begin() as transaction:
        yield opened
        transaction.rollback()
        opened.info.clear()
    engine.dispose()


def decide(
    connection: Connection,
    approval_id: str,
    verdict: decisions.Verdict,
    now_ms: int = NOW_MS,
    by: str = "Ann",
) -> decisions.Decided:
    decided = decisions.decide(connection, approval_id, verdict, by=by, source="link", now_ms=now_ms)
    assert decided is not None
    return decided


def claim(connection: Connection, now_ms: int) -> list[str]:
    begun = submission_queue.begin_attempts(connection, "main", 99, now_ms, worker="w")
    return [one.label for one in begun]


def test_what_a_firing_requests_is_held_together(connection: Connection) -> None:
    """One approval for both presses; it tells who asks, about what, until when."""
    approval = held(connection, press(1), press(2), now_ms=NOW_MS)
    assert (approval.asked_by, approval.task_id, approval.state) == (RULE, "grid", "open")
    assert approval.expires_at_ms == NOW_MS + HOUR_MS
    assert {label: one.state for label, one in by_label(connection, approval.id).items()} == {
        "U1": "held",
        "U2": "held",
    }


def test_no_path_sends_what_is_held(connection: Connection) -> None:
    """Neither a claim, however late, nor a retry, nor the release of what a budget refused, nor a drop of dead letters."""
    approval = held(connection, now_ms=NOW_MS)
    one = by_label(connection, approval.id)["U1"]
    assert not submission_queue.is_any_due(connection, NOW_MS + 10 * HOUR_MS)
    assert claim(connection, NOW_MS + 10 * HOUR_MS) == []
    assert dead_submissions.retry(connection, [one.id], NOW_MS) == 0
    assert not dead_submissions.edit(connection, one.id, b"{}", NOW_MS)
    assert dead_submissions.drop(connection, [one.id], NOW_MS) == 0
    assert not releases.release(connection, one.id, NOW_MS, by="person:page")
    assert states(connection) == {"U1": "held"}


def test_an_approved_one_waits_as_if_it_had_been_requested_now(connection: Connection) -> None:
    """Its delay counts from the release, and it goes behind what came in the meantime."""
    approval = held(connection, press(1), press(2, delay_ms=60_000), now_ms=NOW_MS)
    stage(connection, wanted("meanwhile", label="meanwhile"), NOW_MS + 20_000)
    later = NOW_MS + 30_000
    decided = decide(connection, approval.id, "released", later)
    assert (decided.counts, decided.moved, decided.over_budget) == (True, 2, ())
    assert decided.approval.decided_by == "Ann"
    assert claim(connection, later) == ["meanwhile", "U1"]
    assert claim(connection, later + 59_999) == []
    assert claim(connection, later + 60_000) == ["U2"]
    assert by_label(connection, approval.id)["U1"].reason == "released by Ann (link)"


def test_a_dropped_one_is_never_sent_and_its_intent_is_taken(connection: Connection) -> None:
    """The same rule, or another, requests the same again: nothing is held, nothing is asked, nothing is sent."""
    approval = held(connection, now_ms=NOW_MS)
    assert decide(connection, approval.id, "dropped").moved == 1
    assert fire(connection, press(1), now_ms=NOW_MS + 1) is None
    assert states(connection) == {"U1": "rejected"}
    assert claim(connection, NOW_MS + HOUR_MS) == []
    assert by_label(connection, approval.id)["U1"].reason == "dropped by Ann (link)"


def test_the_first_decision_counts_and_the_second_hears_of_it(connection: Connection) -> None:
    """Whatever it wants."""
    approval = held(connection, now_ms=NOW_MS)
    decide(connection, approval.id, "dropped", NOW_MS + 1)
    second = decide(connection, approval.id, "released", NOW_MS + 2, by="Bob")
    assert not second.counts
    told = second.approval
    assert (told.state, told.decided_by, told.decided_at_ms) == ("dropped", "Ann", NOW_MS + 1)
    assert states(connection) == {"U1": "rejected"}
    assert decisions.decide(connection, "unknown", "dropped", by="", source="api", now_ms=NOW_MS) is None


@pytest.mark.parametrize(("terms", "state"), [(ApprovalTerms(for_ms=HOUR_MS), "rejected"), (SEND, "waiting")])
def test_at_its_end_happens_what_the_rule_wants(
    connection: Connection, terms: ApprovalTerms, state: str
) -> None:
    """Once; not a moment earlier."""
    approval = held(connection, terms=terms, now_ms=NOW_MS)
    end_ms = NOW_MS + HOUR_MS
    assert approvals.expired(connection, end_ms - 1, 9) == []
    early = decisions.expire(connection, approval.id, end_ms - 1)
    assert early is not None
    assert not early.counts
    assert approvals.expired(connection, end_ms, 9) == [approval.id]
    first = decisions.expire(connection, approval.id, end_ms)
    second = decisions.expire(connection, approval.id, end_ms)
    assert [one.counts for one in (first, second) if one is not None] == [True, False]
    assert states(connection) == {"U1": state}
    assert approvals.expired(connection, end_ms, 9) == []


@pytest.mark.parametrize(("terms", "state"), [(ApprovalTerms(for_ms=HOUR_MS), "rejected"), (SEND, "waiting")])
def test_a_decision_after_the_end_comes_too_late(
    connection: Connection, terms: ApprovalTerms, state: str
) -> None:
    """Even if nothing has looked since: a server that was away does not lengthen the time."""
    approval = held(connection, terms=terms, now_ms=NOW_MS)
    late = decide(connection, approval.id, "dropped" if state == "waiting" else "released", NOW_MS + HOUR_MS)
    assert (late.counts, late.approval.decided_from) == (False, "expiry")
    assert states(connection) == {"U1": state}


def test_a_person_who_presses_the_same_button_takes_it_over(connection: Connection) -> None:
    """It is theirs, sent once and at once; the other stays held. With the last one the approval is closed."""
    approval = held(connection, press(1, delay_ms=60_000), press(2), now_ms=NOW_MS)
    chain_id = approval.chain_id
    by_hand = {"asked_by": "person:page", "chain_id": chain_id}
    pressed = stage(connection, msgspec.structs.replace(press(1), **by_hand), NOW_MS + 5)
    assert (pressed.created, pressed.released) == (False, True)
    assert states(connection) == {"U1": "waiting", "U2": "held"}
    assert by_label(connection, approval.id)["U1"].asked_by == "person:page"
    assert claim(connection, NOW_MS + 5) == ["U1"]
    again = stage(connection, msgspec.structs.replace(press(1), **by_hand), NOW_MS + 6)
    assert (again.created, again.released) == (False, False)
    stage(connection, msgspec.structs.replace(press(2), **by_hand), NOW_MS + 7)
    closed = approvals.find(connection, approval.id)
    assert closed is not None
    assert (closed.state, closed.decided_by, closed.decided_from) == ("released", "person:page", "press")
    assert not decide(connection, approval.id, "dropped").counts


def test_held_ones_count_for_the_chain_as_staged_ones_do(connection: Connection) -> None:
    """And once, whatever is decided."""
    approval = held(connection, press(1), press(2), now_ms=NOW_MS)
    decide(connection, approval.id, "released")
    chain = chains.find(connection, approval.chain_id)
    assert chain is not None
    assert (chain.submissions, chain.automatic) == (2, 2)


def test_what_a_budget_of_the_chain_refuses_is_not_asked_about(connection: Connection) -> None:
    """It is refused, as without an approval."""
    assert fire(connection, press(1), refuse="too deep", now_ms=NOW_MS) is None
    assert states(connection) == {"U1": "refused"}


def test_money_is_charged_when_it_is_approved(connection: Connection) -> None:
    """In the period of that moment. What has no room is refused, stays to be seen, and can be released by hand; the rest goes."""
    budget = PeriodBudget(per="day", submissions=1)
    connection.info[PLAN] = Budgets([budget], ZoneInfo("UTC"), {})
    approval = held(connection, press(1), press(2), now_ms=NOW_MS)
    used = select(func.coalesce(func.sum(schema.budgets.c.submissions), 0))
    assert connection.execute(used).scalar_one() == 0
    decided = decide(connection, approval.id, "released")
    assert connection.execute(used).scalar_one() == 1
    assert decided.moved == 1
    assert "day" in decided.over_budget[0]
    assert sorted(states(connection).values()) == ["refused", "waiting"]
    signals = connection.execute(select(schema.events.c.signal)).scalars().all()
    assert signals.count("budget.exceeded") == 1


def test_a_person_whose_budget_has_no_room_leaves_it_held(connection: Connection) -> None:
    """With the rule's name, and still to be decided."""
    connection.info[PLAN] = Budgets([PeriodBudget(per="day", submissions=1)], ZoneInfo("UTC"), {})
    stage(connection, wanted("first"), NOW_MS)
    approval = held(connection, now_ms=NOW_MS)
    by_hand = msgspec.structs.replace(press(1), asked_by="person:page", chain_id=approval.chain_id)
    assert "day" in stage(connection, by_hand, NOW_MS).refused
    one = by_label(connection, approval.id)["U1"]
    assert (one.state, one.asked_by) == ("held", RULE)


def test_a_message_about_it_is_a_delivery_of_its_own(connection: Connection) -> None:
    """It exists only once something is held, and once for a firing."""
    asks = ApprovalTerms(for_ms=HOUR_MS, asks=("/approve", "/approve/forward"))
    held(connection, terms=asks, now_ms=NOW_MS)
    assert fire(connection, press(1), terms=asks, now_ms=NOW_MS + 1) is None
    receivers = connection.execute(select(schema.deliveries.c.receiver)).scalars().all()
    assert sorted(receivers) == [RULE, RULE, f"{RULE}/approve", f"{RULE}/approve/forward"]


def test_the_end_moves_with_the_clock(connection: Connection) -> None:
    """Two hours stay two hours when somebody sets it, and so does a delay."""
    approval = held(connection, press(1, delay_ms=60_000), now_ms=NOW_MS)
    clock_steps.shift(connection, 5 * HOUR_MS, NOW_MS)
    assert approvals.expired(connection, NOW_MS + 6 * HOUR_MS - 1, 9) == []
    later = NOW_MS + 5 * HOUR_MS + 10
    assert decide(connection, approval.id, "released", later).counts
    assert claim(connection, later + 59_999) == []
    assert claim(connection, later + 60_000) == ["U1"]


def test_a_chain_is_kept_while_it_holds_anything(connection: Connection) -> None:
    """And its approvals go with it."""
    approval = held(connection, now_ms=NOW_MS)
    later = NOW_MS + 1000 * HOUR_MS
    assert ended_chains.find(connection, Cursor(0, ""), later, 9)[1] == []
    decide(connection, approval.id, "dropped", NOW_MS + 1)
    (chain_id,) = ended_chains.find(connection, Cursor(0, ""), later, 9)[1]
    ended_chains.drop(connection, [chain_id], later, 99)
    assert approvals.find(connection, approval.id) is None


@pytest.fixture
async def other(database: Database) -> AsyncIterator[Database]:
    """What another process has open."""
    opened = Database(database.url)
    await opened.open()
    yield opened
    await opened.close()


async def of_label(database: Database, label: str) -> str:
    return (await database.read(states))[label]


@pytest.mark.parametrize("number", range(10))
async def test_of_many_decisions_at_one_moment_exactly_one_counts(
    database: Database, other: Database, number: int
) -> None:
    """Two processes with two people each, who want different things, and the end of its time."""
    approval = await database.write("test", lambda connection: held(connection, now_ms=NOW_MS))

    def release(connection: Connection) -> bool:
        return decide(connection, approval.id, "released").counts

    def drop(connection: Connection) -> bool:
        return decide(connection, approval.id, "dropped").counts

    def end(connection: Connection) -> bool:
        found = decisions.expire(connection, approval.id, approval.expires_at_ms)
        return found is not None and found.counts

    works = [release, drop, end]
    works = works[number % 3 :] + works[: number % 3]
    wins = await asyncio.gather(*(each.write("test", work) for work in works for each in (database, other)))
    assert sum(wins) == 1
    found = await database.read(lambda connection: approvals.find(connection, approval.id))
    assert found is not None
    assert await of_label(database, "U1") == {"released": "waiting", "dropped": "rejected"}[found.state]


@pytest.mark.parametrize("number", range(10))
async def test_a_press_and_a_decision_at_one_moment_agree(
    database: Database, other: Database, number: int
) -> None:
    """Whoever is first, the person gets the button, once: a press takes it over, or asks again for what was dropped."""
    approval = await database.write("test", lambda connection: held(connection, now_ms=NOW_MS))
    mine = msgspec.structs.replace(press(1), asked_by="person:page", chain_id=approval.chain_id)
    presses = database.write("test", lambda connection: stage(connection, mine, NOW_MS))
    decides = other.write("test", lambda connection: decide(connection, approval.id, "dropped"))
    if number % 2:
        decided, pressed = await asyncio.gather(decides, presses)
    else:
        pressed, decided = await asyncio.gather(presses, decides)
    assert pressed.released
    assert await of_label(database, "U1") == "waiting"
    found = await database.read(lambda connection: approvals.find(connection, approval.id))
    assert found is not None
    assert (found.state, found.decided_from) == (
        ("dropped", "link") if decided.counts else ("released", "press")
    )


def test_what_a_restored_database_holds_but_was_sent_is_accepted(connection: Connection) -> None:
    """The copy is from before the decision. The upstream shows the task, so it is not sent again; with the last one the approval is
    closed."""
    approval = held(connection, press(1), press(2), now_ms=NOW_MS)
    for number, state in ((1, "open"), (2, "released")):
        one = by_label(connection, approval.id)[f"U{number}"]
        shown = adoption.MarkedTask(mark=one.id, task=task(f"child-{number}"), staged=press(number))
        assert adoption.adopt(connection, "main", [shown], NOW_MS + number).unsent == 1
        found = approvals.find(connection, approval.id)
        assert found is not None
        assert (found.state, found.decided_from) == (state, "upstream" if state == "released" else "")
    assert states(connection) == {"U1": "accepted", "U2": "accepted"}
    assert not decide(connection, approval.id, "dropped").counts


def test_a_button_that_was_pressed_elsewhere_meanwhile_is_not_paid_for_again(connection: Connection) -> None:
    """As when it is staged: the upstream has confirmed the other client's task. The rest is sent."""
    approval = held(connection, press(1), press(2), now_ms=NOW_MS)
    made = tasks.blank("main", "child", NOW_MS)
    shown = {"parent_id": "grid", "made_by": "U1", "status": "SUCCESS", "confirmed": True}
    tasks.put(connection, msgspec.structs.replace(made, **shown))
    decided = decide(connection, approval.id, "released")
    assert (decided.counts, decided.moved) == (True, 1)
    assert states(connection) == {"U1": "existed", "U2": "waiting"}
    assert by_label(connection, approval.id)["U1"].task_ids == ("child",)
    signals = connection.execute(select(schema.events.c.signal)).scalars().all()
    assert "submission.existed" in signals
