"""Queries of an open database, and callers that do not wait for their end."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from sqlalchemy import text

from storage.engine import Connection, Database


def _query(connection: Connection) -> int:
    for _ in range(3):
        connection.execute(text("SELECT 1")).scalar_one()
    return 1


async def test_cancelled_queries_leave_nothing_open(database_url: str) -> None:
    """At whatever moment a caller is cancelled, closing the database ends each thread and task that worked for it."""
    threads, tasks = threading.active_count(), len(asyncio.all_tasks())
    for turns in range(40):
        database = Database(database_url)
        await database.open()
        reads = [asyncio.create_task(database.read(_query)) for _ in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for read in reads:
            read.cancel()
        for read in reads:
            with contextlib.suppress(asyncio.CancelledError):
                assert await read == 1
        assert await database.read(_query) == 1
        await database.close()
        assert len(asyncio.all_tasks()) == tasks
    assert threading.active_count() == threads
