"""Whoever has lost a delivery changes nothing any more; what counts, and in what order, is decided in the database."""

from __future__ import annotations

import json
from functools import partial

import pytest
from sqlalchemy import Connection, select

from midjourney.decode import decode_task
from storage import pruning, schema
from storage.deliveries import delivery_queue, endings
from storage.deliveries.endings import Ended
from storage.duty import protocol
from storage.duty.duties import DELIVERIES
from storage.duty.held import Held
from storage.engine import Database
from storage.errors import LeaseLost
from storage.records import ChainUse, ClaimedDelivery, Incoming, Staged
from storage.submissions import staging, submission_queue
from tests.support.staged import stage, wanted

HOUR_MS = 3_600_000


def callback(status: str, percent: int, task_id: str = "t") -> Incoming:
    body = {"id": task_id, "status": status, "progress": f"{percent}%", "action": "IMAGINE"}
    return Incoming(
        upstream="main",
        task=decode_task(json.dumps(body).encode()),
        submission_id="",
        source="callback",
        received_at_ms=1,
    )


def claim(connection: Connection, now_ms: int = 1) -> list[ClaimedDelivery]:
    delivery_queue.fan_out(connection, lambda _event: ["r"], 10, now_ms)
    return delivery_queue.claim(connection, 10, now_ms, room=lambda _name: 9, worker="w")


DONE = Ended(state="done", staged=(wanted("follow-up"),))


def finish(connection: Connection, claimed: ClaimedDelivery, ending: Ended = DONE) -> bool:
    return endings.end(connection, claimed, ending, refuse=lambda *_: "", now_ms=2)


def staged(connection: Connection) -> list[str]:
    return list(connection.execute(select(schema.submissions.c.idempotency_key)).scalars())


@pytest.mark.parametrize("taken", [False, True], ids=["given back", "given back and taken by another"])
async def test_a_delivery_that_was_given_back_is_not_finished(database: Database, taken: bool) -> None:
    """Its worker was silent for too long: what it asked for is dropped, and the delivery is run again."""
    await database.append(callback("SUCCESS", 100))
    (slow,) = await database.write("claim", claim)
    held = Held(slow.delivery.id, slow.delivery.attempts)
    await database.write("back", lambda c: protocol.give_back(c, DELIVERIES, [held], 1))
    if taken:
        assert len(await database.write("claim", claim)) == 1
    with pytest.raises(LeaseLost):
        await database.write("finish", lambda c: finish(c, slow))
    assert await database.read(staged) == []


async def test_a_delivery_is_finished_once(database: Database) -> None:
    """By whoever says so twice."""
    await database.append(callback("SUCCESS", 100))
    (one,) = await database.write("claim", claim)
    await database.write("finish", lambda c: finish(c, one))
    with pytest.raises(LeaseLost):
        await database.write("finish", lambda c: finish(c, one))
    assert await database.read(staged) == ["follow-up"]


async def test_what_is_due_first_is_run_first(database: Database) -> None:
    """Not what was made first: one that failed and waits lets later ones by."""
    for number in range(3):
        await database.append(callback("SUCCESS", 100, f"t{number}"))
    taken = await database.write("claim", claim)
    due = dict(zip([one.event.task_id for one in taken], (30, 20, 10), strict=True))
    for one in taken:
        ending = Ended(state="waiting", run_at_ms=due[one.event.task_id])
        await database.write("finish", partial(finish, claimed=one, ending=ending))
    again = await database.write("claim", lambda c: claim(c, 25))
    assert [due[one.event.task_id] for one in again] == [10, 20]


async def test_a_submission_that_waits_to_be_tried_again_holds_up_no_other_of_its_lane(
    database: Database,
) -> None:
    """It is not due yet; when it is, it goes before those that came after it."""

    def prepare(connection: Connection) -> None:
        for label in ("U1", "U2", "U3"):
            stage(connection, wanted(label, lane="grid", label=label))
        (first,) = submission_queue.begin_attempts(connection, "main", 9, 1)
        submission_queue.move(
            connection, first.id, by="settle", to="waiting", reason="", run_at_ms=100, now_ms=1
        )

    def begin(connection: Connection, now_ms: int) -> list[str]:
        return [one.label for one in submission_queue.begin_attempts(connection, "main", 9, now_ms)]

    await database.write("prepare", prepare)
    assert await database.write("begin", lambda c: begin(c, 50)) == ["U2"]
    assert await database.write("begin", lambda c: begin(c, 200)) == []  # U2 is under way


async def test_an_hour_counts_what_was_asked_for_in_it_and_not_refused(database: Database) -> None:
    """What the budget refused was not sent: if it counted, an upstream that is full once would stay so."""
    limit = 4

    def refuse(use: ChainUse, one: Staged) -> str:
        return "no" if one.label == "refused" or use.last_hour >= limit else ""

    async def is_made(key: str, now_ms: int, label: str = "imagine") -> bool:
        one = wanted(key, label=label, asked_by="rule:x")
        made = await database.write("stage", lambda c: staging.stage(c, one, refuse=refuse, now_ms=now_ms))
        return made.created

    assert await is_made("old", 0)
    for number in range(5):
        assert not await is_made(f"refused-{number}", 1, "refused")
    assert [await is_made(f"kept-{number}", 2) for number in range(4)] == [True, True, True, False]
    assert not await is_made("early", HOUR_MS - 1)
    # "old" was asked for an hour ago.
    assert [await is_made(f"last-{number}", HOUR_MS) for number in range(2)] == [True, False]


async def test_what_made_a_receiver_fire_is_kept(database: Database) -> None:
    """Progress of a task that has ended goes, but for that: why something was bought can be told for as long as its chain."""
    for status, percent in (("SUBMITTED", 0), ("IN_PROGRESS", 10), ("IN_PROGRESS", 20), ("IN_PROGRESS", 30)):
        await database.append(callback(status, percent))
    await database.append(callback("SUCCESS", 100))
    while taken := await database.write("claim", claim):
        for one in taken:
            ending = Ended(state="done", fired=one.event.progress == 20)
            await database.write("finish", partial(finish, claimed=one, ending=ending))
    await database.write("thin", lambda c: pruning.thin(c, 0, 10, 100))
    left = await database.read(
        lambda c: list(c.execute(select(schema.events.c.progress).order_by(schema.events.c.id)).scalars())
    )
    assert 20 in left
    assert 30 not in left
