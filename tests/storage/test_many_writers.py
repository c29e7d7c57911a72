"""Several processes write one PostgreSQL at the same moment: what one decides on is still true when it has decided."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from sqlalchemy import Connection, func, select, text

from dispatcher.policy import upstream_limits
from dispatcher.policy.period_budgets import Budgets, PeriodBudget
from midjourney.decode import decode_task
from midjourney.dialects import Upstream
from storage import pruning, schema
from storage.budgets import counters
from storage.deliveries import delivery_queue, firings
from storage.deliveries.firings import Limit, Subject
from storage.driver import locks
from storage.engine import Database
from storage.errors import NotDurable, Unkeepable
from storage.events import event_log
from storage.reading import pages
from storage.records import ChainUse, Incoming, Staged, StageResult
from storage.schema import meta
from storage.submissions import settlements, staging, submission_queue
from storage.submissions.settlements import Settlement
from storage.tasks import chains
from storage.tasks import rows as tasks
from storage.tasks import sql as tasks_sql
from storage.tasks.believe import TaskReport, believe
from storage.upstreams import standings
from storage.workers import leases
from tests.conftest import PATIENCE_S
from tests.support.staged import wanted

PROCESSES = 3


@pytest.fixture
async def databases(rows_are_held_for_long: None, postgres_url: str) -> AsyncIterator[list[Database]]:
    """As many as there would be processes, on one PostgreSQL; each hears the others."""
    async with contextlib.AsyncExitStack() as stack:
        opened = [Database(postgres_url) for _ in range(PROCESSES)]
        for database in opened:
            listens = asyncio.Event()
            database.wakeups.subscribe("events", listens.set)
            await database.open()
            stack.push_async_callback(database.close)
            async with asyncio.timeout(PATIENCE_S):
                await listens.wait()
        yield opened


def callback(task_id: str, status: str, percent: int = 0, **fields: Any) -> Incoming:
    body = {"id": task_id, "status": status, "progress": f"{percent}%", "action": "IMAGINE"} | fields
    return Incoming(
        upstream="main",
        task=decode_task(json.dumps(body).encode()),
        submission_id="",
        source="callback",
        received_at_ms=1,
    )


def stage(key: str, chain_id: str = "", *, refuse: staging.Refuse = lambda *_: "", now_ms: int = 1) -> Any:
    return lambda connection: staging.stage(
        connection, wanted(key, chain_id=chain_id), refuse=refuse, now_ms=now_ms
    )


def settle(one: Any, settlement: Settlement, now_ms: int = 6) -> Any:
    return lambda connection: settlements.settle_attempt(connection, one, settlement, now_ms)


async def test_a_task_never_goes_back_whichever_process_hears_what(databases: list[Database]) -> None:
    """Every state of thirty tasks, twice, in any order, by three processes at once: one end each, and all are kept."""
    steps = [("SUBMITTED", 0), ("IN_PROGRESS", 10), ("IN_PROGRESS", 60), ("SUCCESS", 100), ("FAILURE", 0)]
    calls = [callback(f"t{task}", *step) for task in range(30) for step in steps * 2]
    random.Random(5).shuffle(calls)
    await asyncio.gather(
        *(database.append(call) for database, call in zip(itertools.cycle(databases), calls, strict=False))
    )
    rows = await databases[0].read(lambda c: pages.task_page(c, most=100))
    kept = await databases[0].read(lambda c: pages.event_page(c, most=1000))
    ends = Counter(one.task_id for one in kept if one.signal in ("task.succeeded", "task.failed"))
    assert len(kept) == len(calls)
    assert {row.status for row in rows} <= {"SUCCESS", "FAILURE"}
    assert ends == dict.fromkeys([f"t{task}" for task in range(30)], 1)
    for row in rows:
        moved = [one for one in kept if one.task_id == row.id and one.advanced]
        assert max(moved, key=lambda one: one.id).status == row.status


async def test_an_intent_has_one_submission_and_its_chain_counts_it_once(databases: list[Database]) -> None:
    """Thirty times the same, by three processes."""
    made = await asyncio.gather(
        *(
            database.write("stage", lambda c: staging.stage(c, wanted("one"), refuse=lambda *_: "", now_ms=1))
            for database in databases * 10
        )
    )
    assert sum(one.created for one in made) == 1
    assert len({one.submission_id for one in made}) == 1


@pytest.mark.parametrize("root", ["a", "b", "c", "d"])
async def test_the_budget_of_a_chain_holds(databases: list[Database], root: str) -> None:
    """Sixty asked for, seven allowed. Several times: the moment when the last place is taken may pass without a rival."""
    chain = await databases[0].write("chain", lambda c: chains.create(c, "main", root, 1))
    made: list[StageResult] = []

    def refuse(use: ChainUse, _staged: Staged) -> str:
        return "enough" if use.submissions >= 7 else ""

    async def ask(number: int, database: Database) -> None:
        """Twenty times, each in a transaction of its own: writes that wait together would share one."""
        for turn in range(20):
            key = f"k{number}-{turn}"
            made.append(await database.write("stage", stage(key, chain.id, refuse=refuse)))

    await asyncio.gather(*(ask(number, database) for number, database in enumerate(databases)))
    assert sum(one.created for one in made) == 7
    found = await databases[0].read(lambda c: chains.find(c, chain.id))
    assert found is not None
    assert found.submissions == 7


async def test_the_budget_of_an_hour_holds_over_all_chains(databases: list[Database]) -> None:
    """Each in a chain of its own."""

    def refuse(use: ChainUse, _staged: Staged) -> str:
        return "enough" if use.last_hour >= 7 else ""

    made = await asyncio.gather(
        *(
            database.write("stage", stage(f"k{number}", refuse=refuse, now_ms=10))
            for number, database in enumerate(databases * 20)
        )
    )
    assert sum(one.created for one in made) == 7


async def test_the_budget_of_a_day_holds_over_all_processes(databases: list[Database]) -> None:
    """Submissions and money, counted in the transactions that stage: sixty asked for, seven allowed, none given back."""
    limits = [PeriodBudget(per="day", submissions=9), PeriodBudget(per="day", by="upstream", spend=0.7)]
    for database in databases:
        database.charge_by(Budgets(limits, ZoneInfo("UTC"), {"main": {"default": 0.1}}))
    made = await asyncio.gather(
        *(
            database.write("stage", stage(f"k{number}", now_ms=10))
            for number, database in enumerate(databases * 20)
        )
    )
    assert sum(one.created for one in made) == 7
    assert all("0.7 of 0.7 is spent" in one.refused for one in made if not one.created)
    used = await databases[0].read(lambda c: counters.used(c, 10))
    assert sorted((one.submissions, one.spent_micros) for one in used) == [(7, 700_000)] * 2


async def test_an_intent_that_many_processes_stage_at_once_counts_once(databases: list[Database]) -> None:
    """Whoever counts first and comes second with the submission takes back what it counted."""
    for database in databases:
        database.charge_by(Budgets([PeriodBudget(per="day", submissions=90)], ZoneInfo("UTC"), {}))
    for round_ in range(10):
        made = await asyncio.gather(
            *(database.write("stage", stage(f"k{round_}", now_ms=10)) for database in databases * 3)
        )
        assert sum(one.created for one in made) == 1
    (used,) = await databases[0].read(lambda c: counters.used(c, 10))
    assert used.submissions == 10


async def test_a_rule_fires_as_often_as_it_may(databases: list[Database]) -> None:
    """Whoever counts."""
    limit, subject = Limit(most=4), Subject(upstream="main", task_id="t", chain_id="c")
    told = await asyncio.gather(
        *(
            database.write("fire", lambda c: firings.fire(c, "rule:x", limit, subject))
            for database in databases * 10
        )
    )
    assert told.count("") == 4


async def test_no_more_are_sent_at_once_than_an_upstream_can_take(databases: list[Database]) -> None:
    """Three processes claim and settle at the same time; nowhere are more under way than its concurrency."""
    upstream = Upstream(name="main", url="http://x", concurrency=4)
    await databases[0].write("add", lambda c: standings.add(c, ["main"]))
    for number in range(60):
        await databases[0].write(
            "stage",
            stage(f"k{number}"),
        )
    most, sent = 0, Counter[str]()

    def claim(connection: Connection) -> list[Any]:
        held = standings.held_for_claim(connection, ["main"])
        if not held:
            return []
        load = standings.loads(connection, held, with_jobs=False)["main"]
        free = upstream_limits.places(upstream, held["main"], load, 5)
        return submission_queue.begin_attempts(connection, "main", free, 5) if free else []

    def under_way(connection: Connection) -> int:
        return int(
            connection.execute(
                select(func.count()).where(schema.submissions.c.state == "sending")
            ).scalar_one()
        )

    async def work(database: Database) -> None:
        nonlocal most
        accepted = Settlement(state="accepted", outcome="accepted", reason="")
        while sum(sent.values()) < 60:
            begun = await database.write("begin", claim)
            most = max(most, await database.read(under_way))
            for one in begun:
                sent[one.id] += 1
                await database.write("settle", settle(one, accepted))
            await asyncio.sleep(0)

    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(work(database) for database in databases))
    assert (len(sent), set(sent.values())) == (60, {1})
    assert 1 < most <= 4


async def test_what_deadlocks_is_done_again(databases: list[Database]) -> None:
    """Two take two rows in opposite orders, and both have them in the end."""
    await databases[0].write(
        "rows", lambda c: c.execute(meta.insert(), [{"key": key, "value": ""} for key in ("a", "b")])
    )
    met = threading.Barrier(2)

    def both(first: str, second: str) -> Any:
        def work(connection: Connection) -> None:
            for key in (first, second):
                connection.execute(meta.update().where(meta.c.key == key).values(value=meta.c.value + first))
                if key == first:
                    with contextlib.suppress(threading.BrokenBarrierError):
                        met.wait(2)

        return work

    await asyncio.gather(databases[0].write("w", both("a", "b")), databases[1].write("w", both("b", "a")))
    values = await databases[0].read(lambda c: list(c.execute(select(meta.c.value)).scalars()))
    assert [sorted(value) for value in values] == [["a", "b"], ["a", "b"]]


async def test_a_callback_is_not_kept_waiting_by_a_row_that_another_holds(databases: list[Database]) -> None:
    """A worker waits for a chain that is held; callbacks come in all the while."""
    chain = await databases[0].write("chain", lambda c: chains.create(c, "main", "t", 1))
    held, release = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        locks.chains(connection, [chain.id])
        held.set()
        release.wait(PATIENCE_S)

    holding = asyncio.create_task(databases[0].write("hold", hold))
    await asyncio.to_thread(held.wait, PATIENCE_S)
    waiting = [
        asyncio.create_task(database.write("use", lambda c: locks.chains(c, [chain.id])))
        for database in databases * 3
    ]
    try:
        async with asyncio.timeout(PATIENCE_S):
            for number, database in enumerate(databases):
                await database.append(callback(f"t{number}", "SUBMITTED"))
        assert not any(one.done() for one in waiting)
    finally:
        release.set()
    await asyncio.gather(holding, *waiting)


async def test_text_that_postgres_cannot_hold_is_kept_all_the_same(databases: list[Database]) -> None:
    """JSON may have NUL in a string; the bytes are kept as they came."""
    call = callback("t1", "SUCCESS", prompt="a\x00cat", action="IMA\x00GINE")
    await databases[0].append(call)
    (event,) = await databases[0].read(lambda c: pages.event_page(c, most=5))
    assert event.action == "IMA\ufffdGINE"
    assert event.payload == call.task.raw


@pytest.mark.unpooled
async def test_who_waits_elsewhere_is_woken(databases: list[Database]) -> None:
    """By LISTEN and NOTIFY: nobody here polls."""
    woken = asyncio.Event()
    databases[1].wakeups.subscribe("events", woken.set)
    async with asyncio.timeout(PATIENCE_S):
        await databases[0].append(callback("t", "SUCCESS"))
        await woken.wait()


@pytest.mark.unpooled
async def test_wake_ups_go_on_after_their_connection_broke(
    databases: list[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever came in between is looked for at once."""
    monkeypatch.setattr("storage.driver.listen.AGAIN_AFTER_S", 0.05)
    woken = asyncio.Event()
    databases[1].wakeups.subscribe("events", woken.set)

    def end_listeners(connection: Connection) -> int:
        ended = connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE 'LISTEN%' AND datname = current_database()"
            )
        )
        return len(ended.all())

    async with asyncio.timeout(PATIENCE_S):
        assert await databases[0].write("end", end_listeners) == PROCESSES
        await woken.wait()  # it listens again
        woken.clear()
        await databases[0].append(callback("t", "SUCCESS"))
        await woken.wait()


async def test_an_answer_and_its_own_task_at_the_same_moment(databases: list[Database]) -> None:
    """Doubted by one process while another learns of the task with its mark: accepted, whoever is first."""
    doubt = Settlement(state="uncertain", outcome="uncertain", reason="no answer")
    for number in range(20):
        made = await databases[0].write("stage", stage(f"k{number}"))
        (begun,) = await databases[0].write(
            "begin", lambda c: submission_queue.begin_attempts(c, "main", 1, 5)
        )
        call = callback(f"child-{number}", "SUBMITTED")
        shown = msgspec.structs.replace(call.task, raw=f'{{"state": "{begun.id}"}}'.encode())
        report = TaskReport(upstream="main", task_id=shown.id, task=shown, asked_at_ms=6)
        await asyncio.gather(
            databases[1].write("believe", partial(believe, report=report, now_ms=6)),
            databases[2].write("settle", settle(begun, doubt)),
        )
        found = await databases[0].read(partial(submission_queue.find, submission_id=made.submission_id))
        assert found is not None
        assert found.state == "accepted"


async def test_a_task_with_two_ids_is_one_task_whoever_is_first(databases: list[Database]) -> None:
    """A relay's answer names its own id while a poll learns of the id behind it, with the mark of the submission. A row for each would
    be two parents, and both would be pressed."""
    made = await databases[0].write("stage", stage("k"))
    (begun,) = await databases[0].write("begin", lambda c: submission_queue.begin_attempts(c, "main", 1, 5))
    answer = Settlement(
        state="accepted", outcome="accepted", reason="", task_ids=("front",), signal="submission.accepted"
    )
    settled, release = threading.Event(), threading.Event()

    def settle_slowly(connection: Connection) -> None:
        settle(begun, answer)(connection)
        settled.set()
        release.wait(PATIENCE_S)

    settling = asyncio.create_task(databases[2].write("settle", settle_slowly))
    await asyncio.to_thread(settled.wait, PATIENCE_S)
    call = callback("behind", "SUBMITTED")
    shown = msgspec.structs.replace(call.task, raw=f'{{"state": "{begun.id}"}}'.encode())
    report = TaskReport(upstream="main", task_id="behind", task=shown, asked_at_ms=6)
    believing = asyncio.create_task(databases[1].write("believe", partial(believe, report=report, now_ms=6)))
    waits = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    async with asyncio.timeout(PATIENCE_S):
        while not await databases[0].read(lambda c: c.execute(waits).scalar_one()):
            await asyncio.sleep(0.01)
    release.set()
    await asyncio.gather(settling, believing)

    def rows(connection: Connection) -> list[str]:
        query = select(schema.tasks.c.id).where(schema.tasks.c.submission_id == made.submission_id)
        return list(connection.execute(query).scalars())

    assert len(await databases[0].read(rows)) == 1


async def test_a_callback_under_an_id_that_is_becoming_an_alias_is_not_left_alone(
    databases: list[Database],
) -> None:
    """It was stored while another process joined both ids: the next poll joins them again, and its events are the task's."""
    await databases[0].append(callback("front", "SUBMITTED"))
    await databases[0].append(callback("behind", "IN_PROGRESS", 31))
    await databases[1].write(
        "join", lambda c: tasks_sql.ADD_ALIAS(c, upstream="main", id="behind", task_id="front")
    )
    shown = callback("behind", "IN_PROGRESS", 46).task
    report = TaskReport(upstream="main", task_id="behind", task=shown, asked_at_ms=6)
    await databases[2].write("believe", partial(believe, report=report, now_ms=6))
    found = await databases[0].read(lambda c: tasks.find_all(c, "main", ["front", "behind"]))
    assert [(row.id, row.status, row.progress) for row in found.values()] == [("front", "IN_PROGRESS", 46)]


async def test_events_are_fanned_out_by_one_at_a_time(databases: list[Database]) -> None:
    """While one does, the others leave it to it: so deliveries are made in the order of their events."""
    await databases[0].append(callback("t", "SUCCESS"))
    inside, release = threading.Event(), threading.Event()

    def slowly(connection: Connection) -> bool:
        ours = locks.turn(connection, "fan_out")
        inside.set()
        release.wait(PATIENCE_S)
        return ours

    slow = asyncio.create_task(databases[0].write("fan_out", slowly))
    await asyncio.to_thread(inside.wait, PATIENCE_S)

    def fan_out(connection: Connection) -> int:
        return delivery_queue.fan_out(connection, lambda _event: ["one"], 10, 1)

    assert await databases[1].write("fan_out", fan_out) == 0
    release.set()
    assert await slow
    assert await databases[1].write("fan_out", fan_out) == 1
    assert await databases[1].read(lambda c: event_log.pending(c, 5)) == []


async def test_one_worker_leads_and_the_next_one_when_it_is_silent(databases: list[Database]) -> None:
    """By the database's clock; one that has just come, or come back, declares nobody dead."""
    ttl_ms = 1500

    async def beat(me: str) -> leases.Role:
        return await databases[0].write("beat", lambda c: leases.beat(c, me, ttl_ms=ttl_ms))

    first, second = await beat("first"), await beat("second")
    assert (first.leads, first.others, first.may_sweep) == (True, 0, False)
    assert (second.leads, second.others) == (False, 1)
    async with asyncio.timeout(PATIENCE_S):
        while not (role := await beat("second")).leads:
            await asyncio.sleep(0.05)  # the clock of the database must go on
        assert role.others == 0
        while not (role := await beat("second")).may_sweep:
            await asyncio.sleep(0.05)
    back = await beat("first")
    assert (back.leads, back.may_sweep) == (False, False)
    await databases[0].write("leave", lambda c: leases.resign(c, "second"))
    assert (await beat("first")).leads


async def test_callbacks_of_other_tasks_do_not_wait_for_one_that_is_held(databases: list[Database]) -> None:
    """Nor are they refused with it; the one that waits is kept when its task is free."""
    await databases[0].append(callback("held", "SUBMITTED"))
    taken, release = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        tasks.held(connection, "main", "held")
        taken.set()
        release.wait(PATIENCE_S)

    holding = asyncio.create_task(databases[0].write("hold", hold))
    await asyncio.to_thread(taken.wait, PATIENCE_S)
    calls = [callback("held", "SUCCESS"), *(callback(f"other-{number}", "SUCCESS") for number in range(9))]
    kept = [asyncio.create_task(databases[1].append(call)) for call in calls]
    try:
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*kept[1:])
        assert not kept[0].done()
    finally:
        release.set()
    await asyncio.gather(holding, *kept)


async def test_fan_out_and_callbacks_hold_tasks_in_one_order(databases: list[Database]) -> None:
    """New tasks of strangers are given chains while more is heard of them: nobody waits for a deadlock to be noticed."""

    def fan_out(connection: Connection) -> int:
        return delivery_queue.fan_out(connection, lambda _event: ["one"], 100, 1)

    async def deliver(database: Database) -> None:
        while not all(one.done() for one in calling):
            await database.write("fan_out", fan_out)

    async def call(database: Database, number: int) -> None:
        for status, percent in (("SUBMITTED", 0), ("IN_PROGRESS", 50), ("SUCCESS", 100)):
            await database.append(callback(f"t{number % 40}", status, percent))

    def deadlocks(connection: Connection) -> int:
        told = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(connection.execute(told).scalar_one())

    before = await databases[0].read(deadlocks)
    calling = [
        asyncio.create_task(call(databases[number % 2], random.Random(number).randrange(40)))
        for number in range(300)
    ]
    await asyncio.gather(deliver(databases[2]), *calling)
    assert await databases[0].read(deadlocks) == before


@pytest.mark.unpooled
async def test_a_server_that_says_nothing_does_not_keep_the_process(postgres_url: str) -> None:
    """Its processes are frozen: the socket stays open, and nothing comes."""
    database = Database(postgres_url)
    await database.open()

    def frozen(connection: Connection) -> int:
        return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())

    pid = await database.write("pid", frozen)
    os.kill(pid, signal.SIGSTOP)
    try:
        waiting = asyncio.create_task(database.write("w", frozen))
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_S):
            await database.close()
        with pytest.raises(NotDurable):
            await waiting
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_value_that_does_not_fit_is_told_from_a_database_that_is_away(
    databases: list[Database],
) -> None:
    """Asking again helps only in one of the two."""
    with pytest.raises(Unkeepable, match="index row"):
        await databases[0].write("long", stage("k" + "".join(map(chr, range(0x4E00, 0x6000)))))


async def test_a_callback_that_comes_while_its_task_is_pruned_is_kept(databases: list[Database]) -> None:
    """It is one or the other: the task goes and the callback makes a new one, or it stays for the callback."""
    for round_ in range(10):
        task_id = f"old-{round_}"
        await databases[0].append(callback(task_id, "SUBMITTED"))
        await databases[0].write("told", lambda c: delivery_queue.fan_out(c, lambda _event: [], 10, 1))
        late = callback(task_id, "SUCCESS")
        late = Incoming(
            upstream="main", task=late.task, submission_id="", source="callback", received_at_ms=1000
        )
        await asyncio.gather(
            databases[1].append(late),
            databases[2].write("prune", lambda c: pruning.drop_tasks(c, pruning.Cursor(), 500, 10)),
        )
        rows = await databases[0].read(lambda c: pages.task_page(c, most=50))
        kept = await databases[0].read(lambda c: pages.event_page(c, most=99))
        assert [row.status for row in rows if row.id == task_id] == ["SUCCESS"]
        assert [one.status for one in kept if one.task_id == task_id][:1] == ["SUCCESS"]
