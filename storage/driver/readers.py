"""Runs queries: on the event loop (aiosqlite), or in threads, each of which runs one whole query at a time.

On the event loop each statement waits for its turn several times; while callbacks arrive as fast as the process can take them,
that is most of a query's time. PostgreSQL is queried only in threads: psycopg's waiting on the loop may lose a cancellation
on Python 3.11, and a cancelled connect may leave its connection open.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.driver import outage

T = TypeVar("T")


class Readers(Protocol):
    """A few connections for queries, opened when they are first needed."""

    async def run(self, query: Callable[[Connection], T]) -> T:
        """Run a query; returns its value. Raises `NotDurable` if the database cannot be read."""
        ...

    async def close(self) -> None:
        """Wait for running queries, then close the connections."""
        ...


class LoopReaders:
    """Runs queries on the event loop."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, query: Callable[[Connection], T]) -> T:
        """See `Readers`. If the caller is cancelled, the query still completes: SQLAlchemy closes the connection of a cancelled query
        in a task of its own, for which nobody waits."""
        running = asyncio.create_task(self._run(query))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        with _translating():
            return await asyncio.shield(running)

    async def _run(self, query: Callable[[Connection], T]) -> T:
        async with self._engine.connect() as connection:
            return await connection.run_sync(query)

    async def close(self) -> None:
        """See `Readers`."""
        while self._running:
            await asyncio.wait(self._running)
        await self._engine.dispose()


class ThreadReaders:
    """Runs queries in threads of its own, one for each connection of the engine's pool."""

    def __init__(self, engine: Engine, threads: int = 1) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="storage-look")

    async def run(self, query: Callable[[Connection], T]) -> T:
        """See `Readers`. If the caller is cancelled, the thread still completes its query."""
        with _translating():
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, query)

    def _run(self, query: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            return query(connection)

    async def close(self) -> None:
        """See `Readers`."""
        await asyncio.to_thread(self._threads.shutdown)
        self._engine.dispose()


@contextlib.contextmanager
def _translating() -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise outage.translated(error) from error
    except outage.driver_errors() as error:
        if outage.is_outage(error):
            raise outage.translated(error) from error
        raise
