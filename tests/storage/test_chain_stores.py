"""The store of a chain in the database: no change is lost, and whoever has lost the delivery changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, select, text

from midjourney.decode import decode_task
from storage import ended_chains, schema
from storage.deliveries import chain_stores, delivery_queue, endings
from storage.deliveries.endings import Ended, Result, Run
from storage.deliveries.firings import Limit
from storage.duty import protocol
from storage.duty.duties import DELIVERIES
from storage.duty.held import Held
from storage.engine import Database, Step
from storage.errors import LeaseLost
from storage.records import ClaimedDelivery, Incoming, StoreChange
from storage.tasks import chains
from tests.conftest import PATIENCE_S
from tests.support.staged import wanted

RECEIVERS = [f"plugin:{number}" for number in range(8)]


def success(task_id: str = "grid") -> Incoming:
    body = {"id": task_id, "status": "SUCCESS", "progress": "100%", "action": "IMAGINE"}
    return Incoming(
        upstream="main",
        task=decode_task(json.dumps(body).encode()),
        submission_id="",
        source="callback",
        received_at_ms=1,
    )


def fan_out(connection: Connection, receivers: list[str]) -> None:
    delivery_queue.fan_out(connection, lambda _event: receivers, 10, 1)


def claim(connection: Connection, most: int = 1) -> list[ClaimedDelivery]:
    return delivery_queue.claim(connection, most, 30, room=lambda _name: 9, worker="w")


def counted(claimed: ClaimedDelivery, connection: Connection) -> Ended:
    """A run that reads the store, counts, and requests something."""
    assert claimed.chain is not None
    stored = chain_stores.find(connection, claimed.chain.id)
    values = json.loads(stored.content)
    values["seen"] = values.get("seen", 0) + 1
    values["by"] = [*values.get("by", []), claimed.delivery.id]
    change = StoreChange(chain_id=claimed.chain.id, before=stored.version, content=json.dumps(values))
    key = f"{claimed.delivery.id} at attempt {claimed.delivery.attempts}"
    return Ended(state="done", store=change, staged=(wanted(key, thing=key),), fired=True)


def end_all(connection: Connection, runs: list[Run]) -> list[Result]:
    return endings.end_all(connection, runs, refuse=lambda *_: "", now_ms=20)


def keys(connection: Connection) -> list[str]:
    return list(connection.execute(select(schema.submissions.c.idempotency_key)).scalars())


def only_store(connection: Connection) -> dict[str, Any]:
    (content,) = chain_stores.contents(connection).values()
    values: dict[str, Any] = json.loads(content)
    return values


@pytest.fixture
async def databases(database: Database) -> AsyncIterator[list[Database]]:
    """Those of two workers: on PostgreSQL of two processes, on SQLite of the one that there can be."""
    if database.url.startswith("sqlite"):
        yield [database, database]
        return
    async with contextlib.AsyncExitStack() as stack:
        other = Database(database.url)
        await other.open()
        stack.push_async_callback(other.close)
        yield [database, other]


class Worker:
    """What one worker has claimed, what of it has read the store, and what it ended that counts."""

    def __init__(self, database: Database, chance: random.Random) -> None:
        self.database = database
        self.begun: list[ClaimedDelivery] = []
        self.read: list[Run] = []
        self.kept: list[str] = []
        self._chance = chance
        self._step = Step("finish", end_all)

    async def claims(self) -> None:
        most = self._chance.randint(1, 3)
        self.begun += await self.database.write("claim", partial(claim, most=most))

    async def reads(self) -> None:
        for one in self.begun:
            self.read.append(Run(one, await self.database.read(partial(counted, one))))
        self.begun.clear()

    async def loses(self) -> None:
        """Some of what it runs, as if it had been silent for too long; it does not know."""
        running = [*self.begun, *(run.claimed for run in self.read)]
        lost = [
            Held(one.delivery.id, one.delivery.attempts) for one in running if self._chance.random() < 0.3
        ]
        if lost:
            await self.database.write("back", lambda c: protocol.give_back(c, DELIVERIES, lost, 1))

    async def ends(self) -> None:
        """All that has read the store, at the same moment."""
        runs, self.read = self.read, []
        ends = (self.database.step(self._step, run) for run in runs)
        for run, result in zip(runs, await asyncio.gather(*ends, return_exceptions=True), strict=True):
            assert isinstance(result, LeaseLost) or result in (True, False, "again")
            if isinstance(result, bool):
                self.kept += [one.idempotency_key for one in run.ending.staged]


@pytest.mark.parametrize("seed", range(8))
async def test_each_run_that_is_kept_counts_once(databases: list[Database], seed: int) -> None:
    """Two workers claim, read, end what they run in batches at the same moment, and lose some of it to each other: in any order."""
    chance = random.Random(seed)
    await databases[0].append(success())
    await databases[0].write("fan_out", partial(fan_out, receivers=RECEIVERS))
    one, other = (Worker(database, chance) for database in databases)
    for _ in range(1000):
        worker = chance.choice([one, other])
        await chance.choice([worker.claims, worker.claims, worker.reads, worker.loses])()
        if chance.random() < 0.5:
            await asyncio.gather(one.ends(), other.ends())
        if len(one.kept) + len(other.kept) == len(RECEIVERS):
            break
    values = await databases[0].read(only_store)
    assert values["seen"] == len(RECEIVERS)
    assert sorted(values["by"]) == list(range(1, len(RECEIVERS) + 1))
    assert sorted(await databases[0].read(keys)) == sorted([*one.kept, *other.kept])


async def test_whoever_has_lost_the_delivery_changes_nothing(database: Database) -> None:
    """Although nobody has changed the store meanwhile. It was the first to read, and the last to end."""
    await database.append(success())
    await database.write("fan_out", partial(fan_out, receivers=["plugin:a"]))
    (slow,) = await database.write("claim", claim)
    late = await database.read(partial(counted, slow))
    held = Held(slow.delivery.id, slow.delivery.attempts)
    await database.write("back", lambda c: protocol.give_back(c, DELIVERIES, [held], 1))
    (result,) = await database.write("end", partial(end_all, runs=[Run(slow, late)]))
    assert isinstance(result, LeaseLost)
    assert await database.read(chain_stores.contents) == {}
    (again,) = await database.write("claim", claim)
    ending = await database.read(partial(counted, again))
    assert await database.write("end", partial(end_all, runs=[Run(again, ending)])) == [False]
    assert (await database.read(only_store))["seen"] == 1
    assert await database.read(keys) == [ending.staged[0].idempotency_key]


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_change_waits_for_that_of_another_process(
    rows_are_held_for_long: None, databases: list[Database], database: Database
) -> None:
    """Which is not committed yet when this one wants to know the newest version."""
    await database.append(success())
    await database.write("fan_out", partial(fan_out, receivers=RECEIVERS[:2]))
    first, second = await database.write("claim", partial(claim, most=2))
    ends = [await database.read(partial(counted, one)) for one in (first, second)]
    changed, release = threading.Event(), threading.Event()

    def slowly(connection: Connection) -> list[Result]:
        results = end_all(connection, [Run(first, ends[0])])
        changed.set()
        release.wait(PATIENCE_S)
        return results

    slow = asyncio.create_task(databases[1].write("end", slowly))
    await asyncio.to_thread(changed.wait, PATIENCE_S)
    quick = asyncio.create_task(databases[0].write("end", partial(end_all, runs=[Run(second, ends[1])])))
    waits = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    async with asyncio.timeout(PATIENCE_S):
        while not await databases[0].read(lambda c: c.execute(waits).scalar_one()):
            await asyncio.sleep(0.01)
    release.set()
    await asyncio.gather(slow, quick)
    assert (slow.result(), quick.result()) == ([False], ["again"])
    assert (await database.read(only_store))["by"] == [first.delivery.id]


async def test_a_run_that_is_done_again_keeps_all_its_tries(database: Database) -> None:
    """It waits, is due at once, and what it requested, and counted against its limit, is not."""
    await database.append(success())
    await database.write("fan_out", partial(fan_out, receivers=RECEIVERS[:2]))
    first, second = await database.write("claim", partial(claim, most=2))
    ends = [await database.read(partial(counted, one)) for one in (first, second)]
    limited = msgspec.structs.replace(ends[1], limit=Limit(most=1))
    runs = [Run(first, ends[0]), Run(second, limited)]
    assert await database.write("end", partial(end_all, runs=runs)) == [False, "again"]
    assert await database.read(keys) == ["1 at attempt 1"]
    (again,) = await database.write("claim", partial(claim, most=2))
    assert (again.delivery.id, again.delivery.attempts, again.delivery.tries) == (second.delivery.id, 2, 1)
    assert again.store_version == 1
    limited = msgspec.structs.replace(await database.read(partial(counted, again)), limit=limited.limit)
    assert await database.write("end", partial(end_all, runs=[Run(again, limited)])) == [False]
    assert (await database.read(only_store))["seen"] == 2
    assert await database.read(keys) == ["1 at attempt 1", "2 at attempt 2"]


async def test_a_run_beyond_its_limit_keeps_nothing(database: Database) -> None:
    """As it requests nothing: both belong together."""
    await database.append(success())
    await database.write("fan_out", partial(fan_out, receivers=["plugin:a"]))
    (one,) = await database.write("claim", claim)
    ending = msgspec.structs.replace(await database.read(partial(counted, one)), limit=Limit(most=0))
    assert await database.write("end", partial(end_all, runs=[Run(one, ending)])) == [False]
    assert await database.read(chain_stores.contents) == {}
    assert await database.read(keys) == []


async def test_a_store_goes_with_its_chain(database: Database) -> None:
    """And no other does."""

    def made(connection: Connection) -> list[str]:
        ids = [chains.create(connection, "main", "", 1).id for _ in range(2)]
        changes = [StoreChange(chain_id=one, before=0, content='{"seen":1}') for one in ids]
        chain_stores.keep(connection, changes, 2)
        return ids

    gone, stays = await database.write("make", made)
    assert await database.write("drop", lambda c: ended_chains.drop(c, [gone], 10, 1000)) == ([], 1)
    assert await database.read(chain_stores.contents) == {stays: '{"seen":1}'}
