"""What has had its time goes, what matters stays, and nothing that was paid for is ever paid for again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, Table, func, select, update

from dispatcher.loops.count_traffic import TrafficCount
from dispatcher.loops.prune import DAY_MS, LAST_PASS, Pruner
from dispatcher.policy.retention import Retention
from storage import ended_chains, schema, settings
from storage.clock import now_ms
from storage.engine import write_engine
from storage.events import quarantine
from storage.events.quarantine import UnreadableBody
from storage.pruning import Cursor
from storage.records import Ticket
from storage.tasks import rows as tasks
from storage.tickets import sql as tickets_sql
from storage.tickets import tickets
from storage.timetable import occurrences
from tests.support.staged import stage, wanted

RULE = '[[rules]]\nname = "upscale"\non = "task.succeeded"\nif = "task.is_grid"\npress = "U*"\n'


def counts(connection: Connection) -> dict[str, int]:
    names = ["events", "tasks", "chains", "submissions", "attempts", "deliveries", "quarantine", "spent"]
    return {name: rows(connection, schema.metadata.tables[name]) for name in names}


def rows(connection: Connection, table: Table) -> int:
    found: int = connection.execute(select(func.count()).select_from(table)).scalar_one()
    return found


async def in_days(bench: Any, days: float, **keep: Any) -> dict[str, int]:
    """What is left when the job runs so many days later."""
    then_ms = now_ms() + int(days * DAY_MS)
    pruner = Pruner(bench.database, Retention(**keep), lambda: then_ms)
    # All those days have passed since the last pass: no clock was set.
    await bench.database.write("test", lambda one: settings.keep(one, LAST_PASS, str(then_ms)))
    await pruner.turn()
    found: dict[str, int] = await bench.database.read(counts)
    return found


async def a_finished_chain(bench: Any) -> None:
    """A grid with progress before it and duplicates after it, and its four presses."""
    for percent in ("10%", "40%", "70%", "70%"):
        await bench.callback(status="IN_PROGRESS", progress=percent, buttons=[])
    await bench.callback()
    await bench.callback()
    await bench.until_states(*["accepted"] * 4)
    for number in (1, 2, 3, 4):
        await bench.callback(f"child-{number}", action="UPSCALE", buttons=[])
    await bench.until_quiet()


@pytest.fixture
async def busy(bench: Any) -> Any:
    """A running worker that upscales."""
    bench.rules(RULE)
    await bench.start()
    return bench


async def test_progress_of_ended_tasks_is_thinned(busy: Any) -> None:
    """The first word, the end, the answers and all that made a rule fire stay; before its time everything does."""
    await a_finished_chain(busy)
    before = await busy.database.read(counts)
    assert await in_days(busy, 1, progress_days=2, chain_days=90) == before
    after = await in_days(busy, 3, progress_days=2, chain_days=90)
    assert after["events"] == 2 + 4 + 4  # of the grid, of its presses, of their tasks
    assert [(event.signal, event.status) for event in await busy.events(task_id="grid")] == [
        ("task.started", "IN_PROGRESS"),
        ("task.succeeded", "SUCCESS"),
    ]
    assert after | {"events": 0} == before | {"events": 0}


async def test_a_chain_in_which_nothing_happens_any_more_goes_whole(busy: Any) -> None:
    """And nothing of another one does."""
    await a_finished_chain(busy)
    assert (await in_days(busy, 89, chain_days=90))["chains"] == 1
    assert await in_days(busy, 91, chain_days=90) == {
        "events": 0,
        "tasks": 0,
        "chains": 0,
        "submissions": 0,
        "attempts": 0,
        "deliveries": 0,
        "quarantine": 0,
        "spent": 4,
    }


async def test_a_callback_that_comes_after_its_chain_has_gone_presses_nothing(busy: Any) -> None:
    """The rule runs, and asks for what was asked for before."""
    await a_finished_chain(busy)
    await in_days(busy, 91, chain_days=90)
    sent = len(busy.upstream.received)
    await busy.callback()
    await busy.until_quiet()
    assert [one.decision for one in await busy.deliveries()] == [
        "asked for action U1, action U2, action U3, action U4"
    ]
    assert await busy.submissions() == []
    assert len(busy.upstream.received) == sent


@pytest.mark.parametrize("state", ["waiting", "uncertain", "dead", "refused"])
async def test_what_a_person_must_handle_holds_its_chain_back(busy: Any, state: str) -> None:
    """So does what is still to be done."""
    await a_finished_chain(busy)
    submissions = schema.submissions
    pressed = submissions.update().where(submissions.c.label == "U2")
    change = pressed.values(state=state, run_at_ms=now_ms() + DAY_MS)
    await busy.database.write("test", lambda connection: connection.execute(change))
    assert (await in_days(busy, 91, chain_days=90))["chains"] == 1


def ticket(**fields: Any) -> Ticket:
    """An order of ann's that has not ended."""
    return Ticket(
        id=f"{now_ms()}001",
        client="ann",
        kind="action",
        upstream="main",
        created_at_ms=now_ms(),
        **fields,
    )


@contextlib.contextmanager
def opened(url: str) -> Iterator[Connection]:
    """A connection of another process."""
    engine = write_engine(url)
    with contextlib.closing(engine.connect()) as connection:
        yield connection
    engine.dispose()


async def keep(bench: Any, made: Ticket) -> None:
    await bench.database.write(
        "test", lambda connection: tickets_sql.ADD.first(connection, **msgspec.structs.asdict(made))
    )


@pytest.mark.parametrize("shows", ["submission_id", "task_id", "parent_id"])
async def test_a_chain_stays_while_a_client_waits_for_a_part_of_it(busy: Any, shows: str) -> None:
    """By its submission, by its task alone, or by a window on its grid; once the ticket has ended, the chain goes."""
    await a_finished_chain(busy)
    (pressed, *_) = await busy.submissions()
    about = {"submission_id": pressed.id, "task_id": "child-1", "parent_id": "grid"}[shows]
    made = ticket(**{shows: about}, is_window=shows == "parent_id")
    await keep(busy, made)
    then_ms = now_ms() + 91 * DAY_MS
    assert await busy.database.read(lambda one: ended_chains.find(one, Cursor(), then_ms, 9)[1]) == []
    left = await in_days(busy, 91, chain_days=90)
    assert (left["chains"], left["tasks"], left["submissions"]) == (1, 5, 4)
    await busy.database.write("test", lambda connection: tickets.end(connection, [made.id], now_ms()))
    assert (await in_days(busy, 91, chain_days=90))["chains"] == 0


async def test_a_task_without_a_chain_stays_while_a_client_has_a_window_on_it(bench: Any) -> None:
    """It is from before the client came to the gateway."""
    await bench.callback("old")
    await bench.callback("older")
    await keep(bench, ticket(parent_id="old", is_window=True))
    assert (await in_days(bench, 91, chain_days=90))["tasks"] == 1
    assert await bench.database.read(lambda connection: tasks.find(connection, "main", "old")) is not None


async def test_an_order_that_joins_while_its_chain_is_dropped_keeps_it(busy: Any) -> None:
    """A reader has found the chain ended. On PostgreSQL the order is not committed yet when the pruner looks: it waits for it."""
    await a_finished_chain(busy)
    (pressed, *_) = await busy.submissions()
    then_ms = now_ms() + 91 * DAY_MS
    _, found = await busy.database.read(lambda one: ended_chains.find(one, Cursor(), then_ms, 9))
    assert found == [pressed.chain_id]
    url = busy.database.url

    def drop() -> tuple[list[str], int]:
        with opened(url) as connection, connection.begin():
            return ended_chains.drop(connection, found, then_ms, 1000)

    with opened(url) as order:
        with order.begin():
            assert not stage(order, wanted(pressed.idempotency_key)).created
            tickets_sql.ADD.first(order, **msgspec.structs.asdict(ticket(submission_id=pressed.id)))
            if url.startswith("sqlite"):
                dropping = None
            else:
                dropping = asyncio.create_task(asyncio.to_thread(drop))
                # Whoever waits for a row of ours waits for our transaction.
                waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND transactionid = pg_current_xact_id()::xid"
                while not order.exec_driver_sql(waits).scalar_one():
                    assert not dropping.done()
                    await asyncio.sleep(0)
        kept = await (dropping or asyncio.to_thread(drop))
    assert kept == ([], 0)
    assert (await busy.database.read(counts))["submissions"] == 4


async def test_dead_letters_and_quarantine_stay(busy: Any) -> None:
    """However old."""
    await a_finished_chain(busy)
    await busy.database.write(
        "test", lambda connection: connection.execute(schema.deliveries.update().values(state="dead"))
    )
    stranger = UnreadableBody(
        upstream="main", submission_id="", content_type="", reason="", body=b"?", received_at_ms=1
    )
    await busy.database.write("test", lambda connection: quarantine.keep(connection, stranger))
    left = await in_days(busy, 9999, chain_days=90, progress_days=1)
    assert (left["chains"], left["quarantine"], left["deliveries"]) == (1, 1, 5)


async def test_tasks_that_nobody_listens_to_go_as_well(bench: Any) -> None:
    """They have no chain."""
    for number in range(30):
        await bench.callback(f"{number}")
    assert (await in_days(bench, 91, chain_days=90))["tasks"] == 0


async def test_the_times_of_rules_that_run_by_the_clock_go_as_well(bench: Any) -> None:
    """With their deliveries; what still waits for its receiver, or is a dead letter, stays."""
    for minute, state in enumerate(("done", "waiting", "dead")):
        at_ms = 60_000 * minute

        def strike(connection: Connection, at_ms: int = at_ms, state: str = state) -> None:
            about: Any = {"rule": "nine", "upstream": "main", "at_ms": at_ms, "now_ms": now_ms()}
            occurrences.strike(connection, **about, receivers=["rule:nine"], detail="")
            occurrences.miss(connection, **about, detail="missed")
            newest = select(func.max(schema.deliveries.c.id)).scalar_subquery()
            connection.execute(
                update(schema.deliveries).where(schema.deliveries.c.id == newest).values(state=state)
            )

        await bench.database.write("test", strike)
    left = await in_days(bench, 89)
    assert (left["events"], left["deliveries"]) == (6, 3)
    left = await in_days(bench, 91)
    assert (left["events"], left["deliveries"]) == (2, 2)


async def test_0_keeps_for_ever(busy: Any) -> None:
    """Both."""
    await a_finished_chain(busy)
    before = await busy.database.read(counts)
    assert await in_days(busy, 99999, chain_days=0, progress_days=0) == before


async def test_ingest_goes_on_between_the_bites(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three thousand events are thinned; callbacks that come meanwhile are committed between the transactions."""
    monkeypatch.setattr("dispatcher.loops.prune.PAUSE_S", 0.25)  # a busy machine takes longer for a callback
    bench.database.fan_out_only(frozenset())
    for task in range(10):
        await asyncio.gather(
            *(
                bench.callback(f"{task}", status="IN_PROGRESS", progress=f"{percent % 100}%", buttons=[])
                for percent in range(300)
            )
        )
        await bench.callback(f"{task}")
    commits: list[str] = []
    bench.database.observe(lambda stage, name: commits.append(name) if stage == "after" else None)
    pruning = asyncio.create_task(in_days(bench, 3, progress_days=2))
    kept = 0
    while not pruning.done() and commits.count("prune") < 8:
        await bench.callback(f"new-{kept}")
        kept += 1
    left = await pruning
    bites = [place for place, name in enumerate(commits) if name == "prune"]
    assert len(bites) > 6
    # The first one only notes when the pass began: the pruner pauses after each of those that follow.
    assert all("ingest" in commits[one:other] for one, other in pairwise(bites[1:7]))
    assert left["events"] <= 10 * 2 + 10 + kept


async def test_figures_of_charts_go_after_eight_days(bench: Any) -> None:
    """Those of a week ago are there to compare today's with."""
    bench.database.meter.count("callbacks", now_ms(), 1)
    await TrafficCount(bench.database).turn()

    async def minutes() -> int:
        found: int = await bench.database.read(lambda connection: rows(connection, schema.traffic))
        return found

    await in_days(bench, 7.9)
    assert await minutes() == 1
    await in_days(bench, 8.1, progress_days=0, chain_days=0)
    assert await minutes() == 0
