"""Queries of an open database, and callers that do not wait for their end."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from sqlalchemy import text

from storage.engine import Connection, Database
from tests.conftest import PATIENCE_S


def _query(connection: Connection) -> int:
    for _ in range(3):
        connection.execute(text("SELECT 1")).scalar_one()
    return 1


def _others(before: set[threading.Thread]) -> list[threading.Thread]:
    """The threads that were not there before, without those of the event loop's own pool, which stay."""
    return [one for one in threading.enumerate() if one not in before and not one.name.startswith("asyncio_")]


async def test_cancelled_queries_leave_nothing_open(database_url: str) -> None:
    """At whatever moment a caller is cancelled, closing the database ends each thread and task that worked for it."""
    before, tasks = set(threading.enumerate()), len(asyncio.all_tasks())
    for turns in range(40):
        database = Database(database_url)
        await database.open()
        reads = [asyncio.create_task(database.read(_query)) for _ in range(3)]
        await asyncio.sleep(turns * 0.0002)  # somewhere between the connect and the last answer
        for _ in range(3):  # a loop that is stopped may be cancelled again and again
            for read in reads:
                read.cancel()
            await asyncio.sleep(0)
        for read in reads:
            with contextlib.suppress(asyncio.CancelledError):
                assert await read == 1
        await database.close()
        assert len(asyncio.all_tasks()) == tasks
    for thread in _others(before):  # one that has told its end may need a moment more
        thread.join(PATIENCE_S)
    assert _others(before) == []
