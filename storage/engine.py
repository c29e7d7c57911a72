"""The address of a database made into connections: writers, and readers beside them.

Writing and reading are apart since SQLite has one writer. Both take functions of a plain connection, so that all
statements are written once, whatever runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection as Connection  # the layers above name it, and import no SQL
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from storage import outage, postgres, sqlite
from storage.announce import Announcer
from storage.errors import BadDatabaseUrl
from storage.notify import Wakeups
from storage.records import Incoming, Recorded
from storage.worker_lock import WorkerLock
from storage.writer import Observer, Work, Writer

T = TypeVar("T")

PATHS = 2
"""On PostgreSQL, connections that write what is no callback. With that for callbacks, three a process, and at most three
for questions and two for wake-ups."""


class Database:
    """A database that is open. `write`, `append` and `read` are all that other parts use."""

    def __init__(self, url: str) -> None:
        self.url = parse_url(url)
        self.wakeups = Wakeups()
        self.worker_lock: WorkerLock | None = None
        self._announcer: Announcer | None = None
        if is_file(self.url):
            self._readers = sqlite.read_engine(self.url)
            self._writers = [Writer(sqlite.write_engine(self.url), self.wakeups)]
            self.worker_lock = WorkerLock(Path(self.url.database or ""))
        else:
            self._readers = postgres.read_engine(self.url)
            self._announcer = Announcer(self.url, self.wakeups)
            self._writers = [
                self._writer(largest_batch=512),
                *(self._writer(largest_batch=1) for _ in range(PATHS)),
            ]

    def _writer(self, *, largest_batch: int) -> Writer:
        engine = postgres.write_engine(self.url)
        return Writer(engine, self.wakeups, largest_batch=largest_batch, wake_early=False)

    async def open(self) -> None:
        """Start the writers. The schema must be there: see `storage.migrate`."""
        for writer in self._writers:
            writer.start()
        if self._announcer is not None:
            self._announcer.start()

    async def close(self) -> None:
        """Write what waits and close all connections."""
        for writer in self._writers:
            await writer.stop()
        if self._announcer is not None:
            await self._announcer.stop()
        await self._readers.dispose()

    async def append(self, incoming: Incoming) -> Recorded:
        """Keep one callback (transaction "ingest"). Returns after the commit; raises `NotDurable`."""
        return await self._writers[0].append(incoming)

    async def write(self, name: str, work: Callable[[Connection], T]) -> T:
        """Run a named transaction; its value, after the commit. Raises what it raised, or `NotDurable`."""
        (value,) = await self.write_together((name, work))
        result: T = value
        return result

    async def write_together(self, *units: tuple[str, Work]) -> list[Any]:
        """Several named units, in order, in one transaction; their values."""
        idlest = min(self._writers[1:] or self._writers, key=lambda writer: writer.waiting)
        return await idlest.write(units)

    async def read(self, question: Callable[[Connection], T]) -> T:
        """Ask without writing, on a connection of its own. Raises `NotDurable` when the database cannot be asked."""
        try:
            async with self._readers.connect() as connection:
                return await connection.run_sync(question)
        except DBAPIError as error:
            if outage.is_outage(error):
                raise outage.translated(error) from error
            raise

    def hear_only(self, signals: Container[str]) -> None:
        """Callbacks that give another signal are kept, and fanned out to nobody."""
        for writer in self._writers:
            writer.heard = signals

    def observe(self, observer: Observer) -> None:
        """Have `observer` told before and after each commit, in the writing thread. For metrics and crash tests."""
        for writer in self._writers:
            writer.observers.append(observer)


def is_file(url: URL) -> bool:
    """Whether the address is that of a SQLite file."""
    return url.get_backend_name() == "sqlite"


def parse_url(url: str) -> URL:
    """The address as people and platforms write it. Raises `BadDatabaseUrl` with what to write instead."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise BadDatabaseUrl(
            "DATABASE_URL is no database address; write sqlite:///path or postgresql://user:password@host/name"
        ) from error
    if parsed.drivername in ("postgres", "postgresql", postgres.DRIVER):
        return postgres.parse(parsed)
    if parsed.drivername not in ("sqlite", "sqlite+aiosqlite"):
        raise BadDatabaseUrl(
            f"DATABASE_URL has the scheme {parsed.drivername!r}; write sqlite:///path or postgresql://…"
        )
    if not parsed.database or parsed.database == ":memory:":
        raise BadDatabaseUrl(
            "DATABASE_URL names no file, and an event in memory is an event lost; use sqlite:///path"
        )
    return parsed
