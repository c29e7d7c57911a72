"""Group commit: shared transactions, single blame."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, select, text

from storage.engine import Database
from storage.errors import NotDurable, Unkeepable
from storage.schema import meta


def put(key: str) -> Callable[[Connection], str]:
    def work(connection: Connection) -> str:
        connection.execute(meta.insert(), {"key": key, "value": "x"})
        return key

    return work


def keys(connection: Connection) -> set[str]:
    return set(connection.execute(select(meta.c.key)).scalars())


async def test_writes_that_wait_together_share_a_commit(database: Database) -> None:
    """A hundred writes at the same moment: few commits, each answered with its own value."""
    commits: list[str] = []
    database.observe(lambda stage, name: commits.append(name) if stage == "before" else None)
    transactions = 0

    def count(stage: str, name: str) -> None:
        nonlocal transactions
        transactions += (stage, name) == ("before", "first")

    database.observe(count)
    first = database.write("first", put("first"))
    rest = [database.write("rest", put(str(number))) for number in range(99)]
    assert await asyncio.gather(first, *rest) == ["first", *(str(number) for number in range(99))]
    assert transactions == 1
    assert len(commits) == 100
    assert len(await database.read(keys)) == 100


async def test_a_write_that_fails_harms_no_other(database: Database) -> None:
    """One of three breaks a constraint: it alone is told so, the others are kept."""
    await database.write("one", put("taken"))
    results = await asyncio.gather(
        *(database.write("w", put(key)) for key in ("a", "taken", "b")),
        return_exceptions=True,
    )
    assert results[0] == "a"
    assert results[2] == "b"
    assert isinstance(results[1], Unkeepable)
    assert await database.read(keys) == {"taken", "a", "b"}


async def test_units_written_together_are_kept_together(database: Database) -> None:
    """The second unit fails: the first is not kept."""

    def fail(_connection: Connection) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await database.write_together(("first", put("x")), ("second", fail))
    assert await database.read(keys) == set()


async def test_closing_writes_what_waits(database_url: str) -> None:
    """What was asked for before the close is in the database after it."""
    database = Database(database_url)
    await database.open()
    waiting = [asyncio.create_task(database.write("w", put(str(number)))) for number in range(10)]
    await asyncio.sleep(0)
    await database.close()
    assert len(await asyncio.gather(*waiting)) == 10
    reopened = Database(database_url)
    await reopened.open()
    assert len(await reopened.read(keys)) == 10
    await reopened.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_full_disk_is_told_and_loses_nothing_before_it(database: Database) -> None:
    """The database refuses to grow: NotDurable, and what was answered before stays."""
    await database.write("one", put("kept"))

    def limit(connection: Connection) -> None:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))

    await database.write("limit", limit)
    with pytest.raises(NotDurable, match="full"):
        await database.write("big", put("x" * 1_000_000))
    assert await database.read(keys) == {"kept"}
