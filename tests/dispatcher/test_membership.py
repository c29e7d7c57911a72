"""Workers side by side: each lives by its lease, and what one leaves another takes up."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select

from dispatcher.by_hand import commands
from dispatcher.loops.heartbeat import MARGIN_S
from dispatcher.loops.submit import Claimed
from hookchain import task_succeeded
from midjourney.dialects import DIALECTS
from midjourney.requests import Action, Imagine
from storage import schema
from storage.clock import now_ms, uptime_s
from storage.deliveries import delivery_queue
from storage.duty.held import Held
from storage.engine import Connection, Database
from storage.records import PendingEvent
from storage.submissions import interrupted, submission_queue
from storage.tasks import rows as tasks
from storage.workers import leases
from tests.conftest import PATIENCE_S

PRESS = '[[rules]]\nname = "press"\non = "task.succeeded"\nif = "task.is_grid"\npress = "U1"\n'

only_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)


@pytest.fixture
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second or so for who lives, which a busy machine does not take between two beats; tenths for all else."""
    for name, short in (("BEAT_S", 0.05), ("TTL_MS", 1500), ("MARGIN_S", 0.1), ("DROPPED_MS", 200)):
        monkeypatch.setattr(f"dispatcher.loops.heartbeat.{name}", short)
    monkeypatch.setattr("dispatcher.policy.submission_evidence.MODAL_MS", 0)


def claimed_by(worker: str) -> Any:
    """What a process of that name takes, as the loops do, and has in hand when it dies."""

    def claim(connection: Connection) -> int:
        leases.beat(connection, worker, ttl_ms=400)
        delivery_queue.fan_out(connection, lambda _event: ["rule:press"], 10, now_ms())
        return len(delivery_queue.claim(connection, 10, now_ms(), room=lambda _name: 9, worker=worker))

    return claim


@contextlib.asynccontextmanager
async def paused(bench: Any) -> AsyncIterator[None]:
    """The worker delivers nothing, and no turn of that loop is under way; afterwards it goes on."""
    loop = bench._worker._loops[0]
    await loop.stop()
    yield
    loop.is_stopping = False
    loop.start()


@pytest.mark.usefixtures("short_leases")
async def test_what_a_worker_that_died_was_running_is_run_by_another(bench: Any) -> None:
    """When its lease has run out; on a file at once, since whoever works there is alone."""
    bench.rules(PRESS)
    await bench.callback()
    assert await bench.database.write("claim", claimed_by("gone")) == 1
    await bench.start()
    await bench.until_states("accepted")
    (delivery,) = [one for one in await bench.deliveries() if one.receiver == "rule:press"]
    assert (delivery.state, delivery.attempts) == ("done", 2)
    assert len(bench.upstream.pressed()) == 1


@pytest.mark.usefixtures("short_leases")
async def test_what_a_worker_that_died_was_sending_is_not_sent_before_there_is_evidence(bench: Any) -> None:
    """The list shows a press that was made later, with its mark, and not this one: only then is it sent again."""
    bench.options |= {"settle_after_s": 0.3, "timeout_s": 0.5}
    bench.upstream.keeps_list = True
    bench.rules(PRESS.replace("U1", "nothing-like-this"))
    await bench.start()
    await bench.callback()
    await bench.until_quiet()
    await bench.stop()
    await bench.database.write("stage", lambda c: _staged(c))

    def take(connection: Connection) -> int:
        leases.beat(connection, "gone", ttl_ms=400)
        return len(submission_queue.begin_attempts(connection, "main", 9, now_ms(), worker="gone"))

    assert await bench.database.write("begin", take) == 1
    bench.upstream.listed.append(bench.upstream.tasks["grid"])
    await bench.start()
    await bench.until_states("uncertain")
    await asyncio.sleep(1.5)  # what the one that is gone had sent could have ended
    assert bench.upstream.received == []
    await bench.ask(
        Action(task_id="grid", custom_id="MJ::JOB::upsample::2::0ddb91a0-af46-4ae9-8e8e-c271074eb6e6")
    )
    made = await bench.until_states("accepted", "accepted")
    assert sorted(one.attempts for one in made) == [1, 2]
    assert len(bench.upstream.pressed()) == 2


def _staged_imagine(connection: Connection, prompt: str = "a cat") -> None:
    commands.submit(
        connection,
        Imagine(prompt=prompt),
        upstream="main",
        dialect=DIALECTS["trueai"],
        asked_by="test",
        now_ms=now_ms(),
    )


def _staged(connection: Connection) -> None:
    commands.submit(
        connection,
        Action(task_id="grid", custom_id="MJ::JOB::upsample::1::0ddb91a0-af46-4ae9-8e8e-c271074eb6e6"),
        upstream="main",
        dialect=DIALECTS["trueai"],
        asked_by="test",
        now_ms=now_ms(),
    )


@only_postgres
@pytest.mark.usefixtures("short_leases")
async def test_a_worker_whose_lease_ran_out_sends_nothing(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may have taken over; when it is believed again, it goes on."""
    bench.rules(PRESS)
    await bench.start()
    membership = bench._worker._membership
    await membership.loop.stop()
    membership._may_send_until_s = uptime_s() - 1
    await bench.database.write("stage", _staged_imagine)
    bench.database.wakeups.wake("submissions")
    await bench.callback()
    await asyncio.sleep(0.3)  # that nothing happens cannot be awaited
    assert bench.upstream.received == []
    assert await bench.deliveries() == []
    monkeypatch.setattr("dispatcher.loops.heartbeat.TTL_MS", 60_000)
    await membership._turn()
    await bench.until_states("accepted", "accepted")


@only_postgres
async def test_a_worker_stops_sending_well_before_others_take_over(bench: Any) -> None:
    """What it sends last has a margin to arrive in: the others wait for the whole lease, by the database's clock."""
    await bench.start()
    membership = bench._worker._membership
    await membership.loop.stop()

    def left_ms(connection: Connection) -> int:
        now_ms = connection.exec_driver_sql(
            "SELECT extract(epoch FROM clock_timestamp()) * 1000"
        ).scalar_one()
        until_ms = select(schema.leases.c.until_ms).where(schema.leases.c.name == f"worker:{membership.name}")
        return int(connection.execute(until_ms).scalar_one() - now_ms)

    leased_ms = await bench.database.read(left_ms)
    believed_ms = 1000 * (membership.may_send_until_s() - uptime_s())
    assert leased_ms - believed_ms >= 1000 * MARGIN_S - 1
    assert MARGIN_S >= 1


@only_postgres
async def test_what_was_claimed_in_time_does_not_leave_too_late(bench: Any) -> None:
    """The word of the claim's commit came late, or the connection took long: whatever is believed by then counts not."""
    bench.rules(PRESS)
    await bench.start()
    submitter = bench._worker._submitter
    _, claimed = await bench.database.write_together(
        ("stage", _staged_imagine), (submitter.claim.name, submitter.claim.work)
    )
    assert len(claimed.begun) == 1
    assert uptime_s() < claimed.until_s
    submitter.accept(Claimed(claimed.begun, None, until_s=uptime_s() - 0.001))

    async def not_sent() -> bool:
        (one,) = await bench.submissions()
        return bool(one.outcome == "not_sent" or one.attempts > 1)

    await bench.until(not_sent)
    await bench.until_states("accepted")  # by the next claim
    assert len(bench.upstream.received) == 1


@only_postgres
async def test_evidence_about_one_attempt_says_nothing_about_the_next(bench: Any) -> None:
    """A list that was read before the second attempt was made; its reader was slow."""
    await bench.database.write("stage", _staged_imagine)
    (first,) = await bench.database.write(
        "begin", lambda c: submission_queue.begin_attempts(c, "main", 1, now_ms())
    )

    def give_back(connection: Connection, attempt: int) -> int:
        return interrupted.give_back(connection, [Held(first.id, attempt)], now_ms())

    def move(connection: Connection, attempts: int) -> bool:
        at_ms = now_ms()
        return submission_queue.move(
            connection,
            first.id,
            by="disprove",
            to="waiting",
            reason="",
            run_at_ms=at_ms,
            now_ms=at_ms,
            attempts=attempts,
        )

    assert await bench.database.write("release", lambda c: give_back(c, 1)) == 1
    assert await bench.database.write("move", lambda c: move(c, 1))
    await bench.database.write("begin", lambda c: submission_queue.begin_attempts(c, "main", 1, now_ms()))
    assert await bench.database.write("release", lambda c: give_back(c, 2)) == 1
    assert not await bench.database.write("move", lambda c: move(c, 1))
    assert [one.state for one in await bench.submissions()] == ["uncertain"]


@only_postgres
async def test_a_worker_that_leaves_declares_nobody_dead(bench: Any) -> None:
    """The database was away, all leases have run out, and this one is stopped before the other says a word."""
    await bench.start()

    def other(connection: Connection) -> int:
        _staged_imagine(connection)
        leases.beat(connection, "other", ttl_ms=-1)
        return len(submission_queue.begin_attempts(connection, "main", 1, now_ms(), worker="other"))

    assert await bench.database.write("begin", other) == 1
    await bench.stop()
    assert [one.state for one in await bench.submissions()] == ["sending"]


@only_postgres
async def test_a_word_waits_behind_nothing_that_others_write(
    rows_are_held_for_long: None, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row is held, and everything that wants it waits; the lease is renewed all the same."""
    await bench.callback()
    other = Database(bench.database.url)
    await other.open()
    held, release = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        tasks.held(connection, "main", "grid")
        held.set()
        release.wait(PATIENCE_S)

    holding = asyncio.create_task(other.write("hold", hold))
    await asyncio.to_thread(held.wait, PATIENCE_S)
    await bench.start()
    waiting = [
        asyncio.create_task(bench.database.write("wait", lambda c: tasks.held(c, "main", "grid")))
        for _ in range(6)
    ]
    try:
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(5):
                await bench._worker._membership._turn()
        async with asyncio.timeout(PATIENCE_S):
            await bench.callback("another")  # nor does a callback about something else
        assert not any(one.done() for one in waiting)
    finally:
        release.set()
    await asyncio.gather(holding, *waiting)
    await other.close()


async def test_an_answer_that_cannot_be_kept_is_told_and_holds_no_place(bench: Any) -> None:
    """Ids of four thousand characters fit into no index; others are accepted all the while."""
    bench.upstream.answer = lambda _path, body: (
        200,
        {"code": 1, "description": "x" * 10, "result": "y" * 4000 if body["prompt"] == "odd" else "ok"},
    )
    await bench.database.write("stage", lambda c: _staged_imagine(c, "odd"))
    await bench.start()
    await bench.database.write("stage", lambda c: _staged_imagine(c, "even"))
    bench.database.wakeups.wake("submissions")

    async def none_is_sending() -> bool:
        found = await bench.submissions()
        return len(found) == 2 and not {"waiting", "sending"} & {one.state for one in found}

    await bench.until(none_is_sending)


@only_postgres
async def test_a_receiver_that_another_worker_may_have_is_left_to_it(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During a deployment two releases work side by side; after that, a receiver that is gone is a dead letter."""
    monkeypatch.setattr("dispatcher.policy.run_endings.ELSEWHERE_MS", 20)
    ttl_ms = 60_000
    await bench.database.write("beat", lambda c: leases.beat(c, "newer release", ttl_ms=ttl_ms))
    await bench.start()
    await bench.callback()

    def unknown(connection: Connection) -> int:
        return delivery_queue.fan_out(connection, lambda _event: ["rule:new"], 10, now_ms())

    async def left() -> bool:
        return any(one.excused > 1 and one.state != "dead" for one in await bench.deliveries())

    @task_succeeded.connect
    async def hears(action: str, **_: Any) -> None: ...

    async with paused(bench):  # else the event may be fanned out here, to nobody
        await bench.callback("another", buttons=[])
        assert await bench.database.write("fan_out", unknown) > 0
    await bench.until(left)
    monkeypatch.setattr(
        "dispatcher.policy.run_endings.DEPLOYED_WITHIN_MS", 1
    )  # that worker does not have it either

    async def dead() -> bool:
        return any(one.state == "dead" and "not loaded" in one.error for one in await bench.deliveries())

    await bench.until(dead)


@pytest.mark.usefixtures("short_leases")
async def test_a_claim_whose_answer_was_lost_is_picked_up(bench: Any) -> None:
    """The commit was made, and the connection broke before we heard of it: nobody has it in hand."""
    bench.rules(PRESS)
    await bench.start()
    me = bench._worker._membership.name
    await bench.callback()
    await bench.until_states("accepted")

    def heard_by(event: PendingEvent) -> list[str]:
        return ["rule:press"] if event.task_id == "second" else []

    def lost(connection: Connection) -> int:
        delivery_queue.fan_out(connection, heard_by, 10, now_ms())
        return len(delivery_queue.claim(connection, 10, now_ms(), room=lambda _name: 9, worker=me))

    async with paused(bench):
        await bench.callback("second")
        assert await bench.database.write("claim", lost) == 1
    await bench.until_states("accepted", "accepted")
    assert len(bench.upstream.pressed()) == 2


@only_postgres
async def test_a_worker_that_stops_gives_its_lease_up(bench: Any) -> None:
    """Nobody need wait for its silence."""
    await bench.start()
    assert await bench.database.read(leases.alive) == 1
    await bench.stop()
    assert await bench.database.read(leases.alive) == 0
