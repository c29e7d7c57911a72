"""Questions asked in a thread of their own, whole: one that has many statements waits for the event loop only once.

Through the event loop each statement waits for its turn some times over; while callbacks come at all the process can
take, that is most of the time that a question takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storage import outage

T = TypeVar("T")


class Apart:
    """One thread with one connection, both made when they are first needed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="storage-look")

    async def ask(self, question: Callable[[Connection], T]) -> T:
        """The question's value. Raises `NotDurable` when the database cannot be asked."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, question)
        except (DBAPIError, PoolTimeout) as error:
            if isinstance(error, PoolTimeout) or outage.is_outage(error):
                raise outage.translated(error) from error
            raise

    def _ask(self, question: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            return question(connection)

    async def close(self) -> None:
        """Wait for what is asked, and close the connection."""
        await asyncio.to_thread(self._thread.shutdown)
        self._engine.dispose()
