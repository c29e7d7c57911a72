"""What waits can be dropped, hurried and asked for again; of a drop, a change and a claim exactly one wins."""

from __future__ import annotations

import asyncio
from functools import partial
from zoneinfo import ZoneInfo

import msgspec
import pytest
from sqlalchemy import Connection, select

from dispatcher.policy.period_budgets import Budgets, PeriodBudget
from midjourney.requests import Action
from storage import schema
from storage.engine import Database
from storage.reading import waiting as reading
from storage.records import Staged, Submission, Ticket
from storage.submissions import submission_queue, waiting
from storage.tickets import sql as tickets_sql
from storage.tickets import tickets, withdrawing
from storage.upstreams import standings
from tests.support.staged import stage, wanted

NOW = 1_000_000
HOUR = 3_600_000

ONE_A_DAY = Budgets([PeriodBudget(name="daily", per="day", submissions=1)], ZoneInfo("UTC"), {})


def press(label: str = "U1", **fields: object) -> Staged:
    """What a rule asks for."""
    request = Action(task_id="grid", custom_id=f"MJ::{label}")
    return wanted(f"grid|{label}|0", request, **{"label": label, "asked_by": "rule:r"} | fields)


def find(connection: Connection, submission_id: str) -> Submission:
    found = submission_queue.find(connection, submission_id)
    assert found is not None
    return found


def drop(connection: Connection, submission_id: str, now_ms: int = NOW) -> bool:
    return withdrawing.drop(connection, submission_id, "dropped by hand", now_ms)


def begin(connection: Connection, now_ms: int) -> list[str]:
    return [one.id for one in submission_queue.begin_attempts(connection, "main", 10, now_ms)]


async def test_what_is_dropped_is_not_sent_and_its_charge_is_given_back(database: Database) -> None:
    """Its event says who asked for what; it has no signal, so that no rule repeats what a person dropped."""
    database.charge_by(ONE_A_DAY)

    def work(connection: Connection) -> list[tuple[str | None, str, str]]:
        first = stage(connection, press(delay_ms=HOUR), NOW)
        assert stage(connection, press("U2"), NOW).refused
        assert drop(connection, first.submission_id)
        assert not drop(connection, first.submission_id)
        assert begin(connection, NOW + 2 * HOUR) == []
        dropped = find(connection, first.submission_id)
        assert (dropped.state, dropped.outcome, dropped.attempts) == ("rejected", "dropped", 0)
        assert not stage(connection, press("U3"), NOW).refused
        events = schema.events.c
        rows = connection.execute(
            select(events.signal, events.status, events.detail).where(
                events.submission_id == first.submission_id
            )
        )
        return [tuple(row) for row in rows]

    assert await database.write("test", work) == [
        (None, "dropped", "action U1 by rule:r: dropped by hand"),
    ]


async def test_a_rule_does_not_send_what_was_dropped_and_a_person_does(database: Database) -> None:
    """The rule asks again, as when its delivery runs twice: nothing. A person: the same submission, at the person's time."""

    def work(connection: Connection) -> None:
        first = stage(connection, press(delay_ms=HOUR), NOW).submission_id
        assert drop(connection, first)
        again = stage(connection, press(), NOW)
        assert (again.submission_id, again.created, again.released) == (first, False, False)
        assert begin(connection, NOW) == []
        asked = stage(connection, press(asked_by="person:page", delay_ms=60_000), NOW + 1)
        assert (asked.submission_id, asked.created, asked.released) == (first, False, True)
        assert begin(connection, NOW + 60_000) == []
        assert begin(connection, NOW + 60_001) == [first]
        assert find(connection, first).asked_by == "person:page"

    await database.write("test", work)


async def test_a_person_who_asks_again_is_held_to_the_budgets(database: Database) -> None:
    """The charge of what was dropped is given back, and somebody else has used the room since."""
    database.charge_by(ONE_A_DAY)

    def work(connection: Connection) -> None:
        first = stage(connection, press(delay_ms=HOUR), NOW).submission_id
        assert drop(connection, first)
        assert not stage(connection, press("U2"), NOW).refused
        asked = stage(connection, press(asked_by="person:page"), NOW)
        assert "daily" in asked.refused
        assert find(connection, first).state == "refused"

    await database.write("test", work)


@pytest.mark.parametrize("asked_by", ["rule:other", "person:page", "person:client shop"])
async def test_the_earlier_time_and_the_higher_priority_win(database: Database, asked_by: str) -> None:
    """A second request for the same button moves what waits, and never pays twice; a later time changes nothing."""

    def work(connection: Connection) -> None:
        first = stage(connection, press(delay_ms=HOUR, priority=1), NOW).submission_id
        later = stage(connection, press(asked_by=asked_by, delay_ms=2 * HOUR), NOW)
        assert (later.submission_id, later.created) == (first, False)
        assert find(connection, first).run_at_ms == NOW + HOUR
        stage(connection, press(asked_by=asked_by, delay_ms=60_000, priority=3), NOW)
        moved = find(connection, first)
        assert (moved.run_at_ms, moved.priority, moved.repeats) == (NOW + 60_000, 3, 2)
        fresh = stage(connection, press("U9", delay_ms=60_000, priority=3), NOW).submission_id
        assert moved.queue_at_ms == find(connection, fresh).queue_at_ms
        stage(connection, press(asked_by=asked_by, priority=1), NOW)
        assert begin(connection, NOW) == [first]
        assert find(connection, first).priority == 3

    await database.write("test", work)


async def test_send_now_makes_it_due_and_keeps_its_place(database: Database) -> None:
    """It goes behind what was due before it; its event says what was changed. It works for what waits after a failed attempt, too."""

    def work(connection: Connection) -> None:
        early = stage(connection, press("U2"), NOW - 1).submission_id
        late = stage(connection, press(delay_ms=HOUR), NOW).submission_id
        assert waiting.send_now(connection, late, NOW)
        assert begin(connection, NOW) == [early, late]
        assert not waiting.send_now(connection, late, NOW)
        assert not waiting.send_now(connection, "nobody", NOW)
        details = connection.execute(select(schema.events.c.detail)).scalars().all()
        assert details == ["action U1 by rule:r: sent now by hand, not at 1970-01-01T01:16:40+00:00"]

    await database.write("test", work)


async def test_a_drop_ends_the_orders_that_wait_for_it(database: Database) -> None:
    """Each client is told why, and pays nothing."""
    ticket = Ticket(
        id="1", client="shop", kind="action", upstream="main", prompt="", state="", created_at_ms=1
    )

    def work(connection: Connection) -> None:
        ordered = stage(connection, press(asked_by="person:client shop", delay_ms=HOUR), NOW).submission_id
        mine = msgspec.structs.replace(ticket, submission_id=ordered)
        tickets_sql.ADD.first(connection, **msgspec.structs.asdict(mine))
        assert drop(connection, ordered)
        ended = tickets.by_id(connection, "1")
        assert ended is not None
        assert (ended.ended_at_ms, ended.fail_reason) == (NOW, "dropped by hand")

    await database.write("test", work)


async def test_what_each_waits_for(database: Database) -> None:
    """Its time; a paused upstream; an upstream that asked for a pause; the press before it; its turn."""

    def work(connection: Connection) -> dict[str, str]:
        stage(connection, press("scheduled", delay_ms=HOUR), NOW)
        stage(connection, press("turn", lane="a", priority=1), NOW)
        stage(connection, press("lane", lane="a"), NOW)
        stage(connection, press("paused", upstream="second"), NOW)
        stage(connection, press("held", upstream="third"), NOW)
        standings.add(connection, ["main", "second", "third"])
        standings.pause(connection, "second", NOW)
        held = standings.held(connection, "third")
        standings.save(connection, msgspec.structs.replace(held, held_until_ms=NOW + 5, held_ms=5))
        found = reading.page(connection, most=10)
        why = reading.reasons(connection, found, NOW)
        return {submission.label: why[submission.id] for submission in found}

    found = await database.write("test", work)
    assert found == {name: name for name in ("scheduled", "turn", "lane", "paused", "held")}


async def test_a_drop_and_a_claim_never_both_win(database_url: str) -> None:
    """Two processes, and twenty submissions that both want at the same moment: each is sent or dropped, and never both."""
    sender, person = Database(database_url), Database(database_url)
    await sender.open()
    await person.open()
    try:
        ids = [await sender.write("stage", partial(_staged, name=str(number))) for number in range(20)]
        attempts = [sender.write("begin_attempt", partial(_begun, most=1)) for _ in ids]
        drops = [person.write("command", partial(drop, submission_id=id_)) for id_ in reversed(ids)]
        dropped, begun = await asyncio.gather(asyncio.gather(*drops), asyncio.gather(*attempts))
        sent = {id_ for some in begun for id_ in some}
        gone = {id_ for id_, won in zip(reversed(ids), dropped, strict=True) if won}
        assert not sent & gone
        states = {id_: (await person.read(partial(find, submission_id=id_))).state for id_ in ids}
        expected = dict.fromkeys(ids, "waiting") | dict.fromkeys(sent, "sending")
        assert states == expected | dict.fromkeys(gone, "rejected")
    finally:
        await sender.close()
        await person.close()


async def test_hurrying_and_claiming_never_send_twice(database_url: str) -> None:
    """One process claims what is due while another makes the same due now: each has one attempt, and none waits after it."""
    sender, person = Database(database_url), Database(database_url)
    await sender.open()
    await person.open()
    try:
        ids = [await sender.write("stage", partial(_staged, name=str(number))) for number in range(20)]
        attempts = [sender.write("begin_attempt", partial(_begun, most=1)) for _ in ids]
        hurried = [person.write("command", partial(_hurried, id_=id_)) for id_ in reversed(ids)]
        begun, _ = await asyncio.gather(asyncio.gather(*attempts), asyncio.gather(*hurried))
        begun.append(await sender.write("begin_attempt", partial(_begun, most=20)))
        assert sorted(id_ for some in begun for id_ in some) == sorted(ids)
        found = [await person.read(partial(find, submission_id=id_)) for id_ in ids]
        assert {(one.state, one.attempts) for one in found} == {("sending", 1)}
    finally:
        await sender.close()
        await person.close()


def _hurried(connection: Connection, id_: str) -> bool:
    return waiting.send_now(connection, id_, NOW)


def _staged(connection: Connection, name: str) -> str:
    return stage(connection, wanted(name), NOW).submission_id


def _begun(connection: Connection, most: int) -> list[str]:
    return [one.id for one in submission_queue.begin_attempts(connection, "main", most, NOW)]
