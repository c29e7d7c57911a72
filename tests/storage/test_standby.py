"""A PostgreSQL whose commits wait for a synchronous standby: what may be answered, and when."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator

import psycopg
import pytest
from sqlalchemy import Connection, select

from storage.engine import Database
from storage.errors import NotDurable
from storage.migrate import migrate
from storage.schema import meta
from tests.conftest import PATIENCE_S
from tests.support import postgres, standby

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("standby")]

WAIT = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


def put(key: str) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        connection.execute(meta.insert(), {"key": key, "value": "x"})

    return work


def keys(connection: Connection) -> set[str]:
    return set(connection.execute(select(meta.c.key)).scalars())


@pytest.fixture(scope="module")
def servers() -> Iterator[standby.Pair]:
    """Two servers with the schema of this release."""
    with standby.running() as pair:
        migrate(pair.url)
        yield pair


@pytest.fixture
def pair(servers: standby.Pair) -> Iterator[standby.Pair]:
    """The two servers, with empty tables."""
    postgres.empty(servers.primary.url)
    yield servers
    servers.standby.signal(signal.SIGCONT)


@pytest.fixture
async def database(pair: standby.Pair) -> AsyncIterator[Database]:
    """Open at the primary."""
    opened = Database(pair.url)
    await opened.open()
    yield opened
    pair.standby.signal(signal.SIGCONT)
    await opened.close()


async def test_of_several_hosts_the_one_that_takes_writes_is_used(pair: standby.Pair) -> None:
    """Wherever it stands in the address: after a failover the old primary may come back as the standby."""
    hosts = f"{pair.standby.address},{pair.primary.address}"
    database = Database(f"postgresql://postgres@{hosts}/postgres")
    await database.open()
    try:
        await database.write("put", put("a"))
        assert await database.read(keys) == await database.look(keys) == {"a"}
    finally:
        await database.close()


async def test_a_commit_that_is_not_on_the_standby_is_not_answered(
    database: Database, pair: standby.Pair
) -> None:
    """Somebody cancels its wait: PostgreSQL calls it committed, with a warning. A failover would lose it."""
    await database.write("first", put("first"))
    pair.standby.signal(signal.SIGSTOP)
    writing = asyncio.create_task(database.write("put", put("a")))
    waiting = await asyncio.to_thread(pair.primary.ask, WAIT)
    await asyncio.to_thread(pair.primary.ask, f"SELECT pg_cancel_backend({waiting})")
    with pytest.raises(NotDurable, match="synchronous replication"):
        await writing
    pair.standby.signal(signal.SIGCONT)
    async with asyncio.timeout(PATIENCE_S):
        await database.write("put", put("b"))
    assert await database.read(keys) == {
        "first",
        "a",
        "b",
    }  # it stands all the same: asked again, it is known


async def test_while_the_standby_is_away_no_connections_are_left_behind(
    database: Database, pair: standby.Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each refused write would leave one that waits for the standby, with its locks, until the server takes no more."""
    monkeypatch.setattr("storage.driver.writer.HANGS_S", 0.2)
    pair.standby.signal(signal.SIGSTOP)
    for number in range(8):
        with pytest.raises(NotDurable):
            await database.write_separately("put", put(str(number)))
    with psycopg.connect(pair.primary.url) as connection:
        waiting = connection.execute(WAIT).fetchall()
    assert len(waiting) <= 1
