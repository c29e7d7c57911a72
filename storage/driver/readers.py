"""Runs queries in threads, each of which runs one whole query at a time.

An asynchronous driver would wait for its turn on the event loop several times in each statement; while callbacks arrive as fast as
the process can take them, that is most of a query's time. psycopg's waiting on the loop may also lose a cancellation on Python
3.11, and a cancelled connect may leave its connection open. SQLAlchemy's asynchronous engine loads its whole ORM.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storage.driver import outage

T = TypeVar("T")


class Readers:
    """A few connections for queries, opened when they are first needed: a thread for each connection of the engine's pool."""

    def __init__(self, engine: Engine, threads: int = 1) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="storage-look")

    async def run(self, query: Callable[[Connection], T]) -> T:
        """Run a query; returns its value. Raises `NotDurable` if the database cannot be read.

        If the caller is cancelled, the thread still completes its query.
        """
        with _translating():
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, query)

    def _run(self, query: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            return query(connection)

    async def close(self) -> None:
        """Wait for running queries, then close the connections."""
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
