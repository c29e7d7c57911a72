"""Group commit: shared transactions, single blame."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, select, text

from storage.engine import Closing, Database, Step
from storage.errors import LeaseLost, NotDurable, Unkeepable
from storage.schema import meta
from tests.conftest import PATIENCE_S


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


async def test_the_meter_says_who_held_the_writer(database: Database) -> None:
    """By name: how often, how long together, and how long at most; what failed counts as well."""

    def break_off(_connection: Connection) -> None:
        raise LookupError

    for key in ("a", "b", "c"):
        await database.write("prune", put(key))
    with pytest.raises(LookupError):
        await database.write("broken", break_off)
    await database.write_together(("one", put("d")), ("two", put("e")))
    held = database.held_by()
    often = {"prune": 3, "broken": 1, "one": 1, "two": 1, "commit": 4}
    assert {name: counted.happened for name, counted in held.items()} == often
    assert all(0 <= counted.slowest_us <= counted.total_us for counted in held.values())
    assert held["prune"].slowest_us > 0


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


@pytest.mark.parametrize(
    "error", [ValueError("no"), StopIteration(1), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr
)
async def test_what_a_write_raises_is_its_own_answer(database: Database, error: BaseException) -> None:
    """The other two are kept by the same commit, and what the failing one had written is gone."""
    commits: list[str] = []

    def fail(connection: Connection) -> None:
        put("half")(connection)
        raise error

    database.observe(lambda stage, name: commits.append(f"{stage} {name}"))
    a, failed, b = await asyncio.gather(
        database.write("w", put("a")),
        database.write("fails", fail),
        database.write("w", put("b")),
        return_exceptions=True,
    )
    assert (a, b) == ("a", "b")
    assert isinstance(failed, ValueError if isinstance(error, ValueError) else RuntimeError)
    assert commits == ["before w"] * 2 + ["after w"] * 2
    assert await database.read(keys) == {"a", "b"}
    await database.write("w", put("later"))


async def test_a_hundred_refused_commands_share_one_commit_with_what_is_kept(database: Database) -> None:
    """No batch is taken apart because of them."""
    runs = 0

    def counted(connection: Connection) -> None:
        nonlocal runs
        runs += 1
        put(str(runs))(connection)

    def refuse(_connection: Connection) -> None:
        raise ValueError

    await asyncio.gather(
        *(database.write("w", work) for work in [counted, refuse] * 100), return_exceptions=True
    )
    assert runs == 100


async def test_a_writer_that_ends_says_so(database: Database) -> None:
    """To all who wait and all who come later; nobody waits for ever."""
    was_writing = database.is_writing
    assert was_writing
    for task in asyncio.all_tasks():
        if task.get_name() == "writer":
            task.cancel()
    with pytest.raises(NotDurable, match="restart hookchain"):
        await database.write("w", put("waits"))
    assert not database.is_writing
    with pytest.raises(NotDurable, match="restart hookchain"):
        await database.write("w", put("later"))


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


def putting(runs: list[list[str]], name: str = "put") -> Step[str, str]:
    """A step that notes what it is called with. "lost" is refused by itself; "taken" makes the whole call fail."""

    def work(connection: Connection, values: list[str]) -> list[str | Exception]:
        runs.append(values)
        return [LeaseLost(value) if value == "lost" else put(value)(connection) for value in values]

    return Step(name, work)


async def test_items_of_a_step_are_done_by_one_call(database: Database) -> None:
    """Twenty that wait together: one call, one commit, each with its own result; one of them is refused, and harms nobody."""
    runs: list[list[str]] = []
    commits: list[str] = []
    database.observe(lambda stage, name: commits.append(name) if stage == "before" else None)
    step = putting(runs)
    values = [*(str(number) for number in range(20)), "lost"]
    writer = database._others  # on PostgreSQL there are several
    results = await asyncio.gather(*(writer.step(step, value) for value in values), return_exceptions=True)
    assert results[:-1] == values[:-1]
    assert isinstance(results[-1], LeaseLost)
    assert runs == [values]
    assert commits == ["put"] * 20
    assert await database.read(keys) == set(values) - {"lost"}


async def test_an_item_that_makes_its_step_fail_fails_alone(database: Database) -> None:
    """The call for all is undone, and repeated for each: only the one to blame is refused."""
    await database.write("one", put("taken"))
    runs: list[list[str]] = []
    step = putting(runs)
    writer = database._others
    values = ["a", "taken", "b"]
    results = await asyncio.gather(*(writer.step(step, value) for value in values), return_exceptions=True)
    assert (results[0], results[2]) == ("a", "b")
    assert isinstance(results[1], Unkeepable)
    assert runs == [values, ["a"], ["taken"], ["b"]]
    assert await database.read(keys) == {"taken", "a", "b"}


async def test_items_and_calls_share_a_transaction_where_there_is_one_writer(database: Database) -> None:
    """Items come first, and a failing step takes neither the call nor the items of another step with it."""
    await database.write("one", put("taken"))
    first: list[list[str]] = []
    commits: list[list[str]] = [[]]

    def note(stage: str, name: str) -> None:
        if stage == "before":
            commits[-1].append(name)
        elif commits[-1]:
            commits.append([])

    database.observe(note)
    failing, other = putting(first, "failing"), putting([], "other")
    writer = database._others
    results = await asyncio.gather(
        writer.write([("call", put("by a call"))]),
        writer.step(failing, "taken"),
        writer.step(failing, "a"),
        writer.step(other, "b"),
        return_exceptions=True,
    )
    assert [isinstance(result, Exception) for result in results] == [False, True, False, False]
    assert await database.read(keys) == {"taken", "by a call", "a", "b"}
    if database.path is not None:
        assert commits[0] == ["failing", "other", "call"]


async def test_what_closes_a_transaction_runs_once_for_all_its_items(database: Database) -> None:
    """At its end, when all of them are written; its value is given once, after the commit."""
    seen: list[set[str]] = []
    done: asyncio.Queue[object] = asyncio.Queue()

    def close(connection: Connection) -> str:
        seen.append(keys(connection))
        return "closed"

    closing = Closing("close", close, done.put_nowait)
    step, writer = putting([]), database._others
    await asyncio.gather(*(writer.step(step, value, closing) for value in ("a", "b", "c")))
    async with asyncio.timeout(PATIENCE_S):
        assert await done.get() == "closed"
    assert done.empty()
    assert seen == [{"a", "b", "c"}]


async def test_a_closing_that_fails_takes_no_item_with_it(database: Database) -> None:
    """The items are committed without it; what it had written is gone, and it gets its error."""
    done: asyncio.Queue[object] = asyncio.Queue()

    def fail(connection: Connection) -> None:
        put("half")(connection)
        raise LookupError("no")

    writer, closing = database._others, Closing("close", fail, done.put_nowait)
    step = putting([])
    results = await asyncio.gather(*(writer.step(step, value, closing) for value in ("a", "b")))
    assert results == ["a", "b"]
    async with asyncio.timeout(PATIENCE_S):
        assert isinstance(await done.get(), LookupError)
    assert await database.read(keys) == {"a", "b"}


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_items_that_conflict_are_repeated_and_each_is_written_once(database: Database) -> None:
    """PostgreSQL ends a transaction because of another: the same call again, then each item alone."""
    runs: list[list[str]] = []

    def work(connection: Connection, values: list[str]) -> list[str]:
        runs.append(values)
        for value in values:
            put(value)(connection)
        if len(values) > 1:
            connection.exec_driver_sql(
                "DO $$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = '40P01'; END $$"
            )
        return values

    writer, step = database._others, Step("put", work)
    assert await asyncio.gather(*(writer.step(step, value) for value in ("a", "b"))) == ["a", "b"]
    assert runs == [["a", "b"]] * 3 + [["a"], ["b"]]
    assert await database.read(keys) == {"a", "b"}
