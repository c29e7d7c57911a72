"""Who goes next: chains in turn, higher priorities first, nobody for ever at the back."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from sqlalchemy import Connection

from storage.engine import Database
from storage.submissions import staging, submission_queue
from tests.support.staged import wanted


def stage(connection: Connection, chain_id: str, label: str, now_ms: int, priority: int = 0) -> str:
    staged = wanted(f"{chain_id}|{label}", chain_id=chain_id, label=label, priority=priority)
    return staging.stage(connection, staged, refuse=lambda *_: "", now_ms=now_ms).chain_id


def order(connection: Connection, most: int, now_ms: int) -> Iterable[str]:
    return [one.label for one in submission_queue.begin_attempts(connection, "main", most, now_ms)]


async def test_one_chain_with_two_hundred_does_not_starve_another(database: Database) -> None:
    """What is asked for later by a smaller chain goes before most of it, and both go on by turns."""

    async def staged(labels: list[str], now_ms: int) -> None:
        chain = ""
        for label in labels:
            one = partial(stage, chain_id=chain, label=label, now_ms=now_ms)
            chain = await database.write("test", one)

    await staged([f"a{number:03d}" for number in range(200)], 0)
    await staged([f"b{number}" for number in range(4)], 15_000)
    gone = await database.write("test", lambda c: list(order(c, 10, 15_000)))
    assert gone == ["a000", "a001", "b0", "a002", "b1", "a003", "b2", "a004", "b3", "a005"]


async def test_a_higher_priority_goes_first(database: Database) -> None:
    """Whatever waits, and however long it has."""

    def work(connection: Connection) -> list[str]:
        chain = stage(connection, "", "first", 0)
        stage(connection, chain, "second", 0)
        stage(connection, "", "urgent", 500_000, priority=1)
        stage(connection, "", "never mind", 0, priority=-1)
        return list(order(connection, 10, 500_000))

    assert await database.write("test", work) == ["urgent", "first", "second", "never mind"]
