"""The address of a database made into connections: writers, and readers beside them.

Writing and reading are apart since SQLite has one writer. Both take functions of a plain connection, so that all
statements are written once, whatever runs them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection as Connection  # the layers above name it, and import no SQL
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storage import outage, postgres, sqlite
from storage.announce import Announcer
from storage.apart import Apart
from storage.errors import BadDatabaseUrl
from storage.meter import Meter
from storage.notify import Wakeups
from storage.records import Incoming, Recorded
from storage.worker_lock import WorkerLock
from storage.writer import Observer, Work, Writer

T = TypeVar("T")

PATHS = 2
"""On PostgreSQL, connections that write what is no callback. With one for callbacks, one for leases, two for questions and
two for wake-ups a process has eight at most, and one more while pages are open."""

CALLBACK_LOCK_WAIT_MS = 300
"""How long a callback's transaction waits for a row: others wait behind it."""


class Database:
    """A database that is open. `write`, `append`, `read` and `look` are all that other parts use.

    `meter` counts what this process does with it, until somebody writes that down.
    """

    def __init__(self, url: str) -> None:
        address = parse_url(url)
        self.url = url
        self.wakeups = Wakeups()
        self.meter = Meter()
        self.worker_lock: WorkerLock | None = None
        self._announcer: Announcer | None = None
        if isinstance(address, Path):
            self._readers = sqlite.read_engine(address)
            self._looks = Apart(sqlite.look_engine(address))
            self._callbacks = self._apart = Writer(sqlite.write_engine(address), self.wakeups)
            self._paths = [self._callbacks]
            self.worker_lock = WorkerLock(address)
        else:
            self._readers = postgres.read_engine(address)
            self._looks = Apart(postgres.look_engine(address))
            self._announcer = Announcer(address, self.wakeups)
            self._callbacks = Writer(
                postgres.write_engine(address, lock_wait_ms=CALLBACK_LOCK_WAIT_MS),
                self.wakeups,
                wake_early=False,
            )
            self._apart, *self._paths = (
                Writer(postgres.write_engine(address), self.wakeups, largest_batch=1, wake_early=False)
                for _ in range(1 + PATHS)
            )

    @property
    def _writers(self) -> set[Writer]:
        return {self._callbacks, self._apart, *self._paths}

    async def open(self) -> None:
        """Start the writers. The schema must be there: see `storage.migrate`."""
        for writer in self._writers:
            writer.start()
        if self._announcer is not None:
            self._announcer.start()

    async def close(self) -> None:
        """Write what waits and close all connections."""
        await asyncio.gather(*(writer.stop() for writer in self._writers))
        if self._announcer is not None:
            await self._announcer.stop()
        await self._looks.close()
        await self._readers.dispose()

    async def append(self, incoming: Incoming) -> Recorded:
        """Keep one callback (transaction "ingest"). Returns after the commit; raises `NotDurable` or `Unkeepable`."""
        return await self._callbacks.append(incoming)

    async def write(self, name: str, work: Callable[[Connection], T]) -> T:
        """Run a named transaction; its value, after the commit. Raises what it raised, `NotDurable` or `Unkeepable`."""
        (value,) = await self.write_together((name, work))
        result: T = value
        return result

    async def write_together(self, *units: tuple[str, Work]) -> list[Any]:
        """Several named units, in order, in one transaction; their values."""
        return await min(self._paths, key=lambda writer: writer.waiting).write(units)

    async def write_apart(self, name: str, work: Callable[[Connection], T]) -> T:
        """As `write`, and waits behind nothing that others write."""
        (value,) = await self._apart.write([(name, work)])
        result: T = value
        return result

    async def read(self, question: Callable[[Connection], T]) -> T:
        """Ask without writing, on a connection of its own. Raises `NotDurable` when the database cannot be asked."""
        try:
            async with self._readers.connect() as connection:
                return await connection.run_sync(question)
        except (DBAPIError, PoolTimeout) as error:
            if isinstance(error, PoolTimeout) or outage.is_outage(error):
                raise outage.translated(error) from error
            raise

    async def look(self, question: Callable[[Connection], T]) -> T:
        """As `read`, all of it in a thread that has one question at a time: for long ones that nobody waits for."""
        return await self._looks.ask(question)

    def hear_only(self, signals: Container[str]) -> None:
        """Callbacks that give another signal are kept, and fanned out to nobody."""
        for writer in self._writers:
            writer.heard = signals

    def observe(self, observer: Observer) -> None:
        """Have `observer` told before and after each commit, in the writing thread. For metrics and crash tests."""
        for writer in self._writers:
            writer.observers.append(observer)


def write_engine(url: str) -> Engine:
    """For one connection beside an open database: migrations of tests, looks from outside."""
    address = parse_url(url)
    return sqlite.write_engine(address) if isinstance(address, Path) else postgres.write_engine(address)


def parse_url(url: str) -> Path | postgres.Address:
    """The address as people and platforms write it: a SQLite file, or a PostgreSQL. Raises `BadDatabaseUrl` with what to
    write instead."""
    scheme, found, path = url.partition("://")
    if scheme in ("postgres", "postgresql", "postgresql+psycopg") and found:
        return postgres.parse(url)
    if scheme not in ("sqlite", "sqlite+aiosqlite") or not found:
        told = f"has the scheme {scheme!r}" if found else "is no database address"
        raise BadDatabaseUrl(
            f"DATABASE_URL {told}; write sqlite:///path or postgresql://user:password@host/name"
        )
    if not path.startswith("/") or path in ("/", "/:memory:"):
        raise BadDatabaseUrl(
            "DATABASE_URL names no file, and an event in memory is an event lost; use sqlite:///path"
        )
    return Path(path[1:])
