"""The address of a database made into connections: one writer, and readers beside it.

Writing and reading are apart since SQLite has one writer. Both take functions of a plain connection, so that all
statements are written once, whatever runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection as Connection  # the layers above name it, and import no SQL
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from storage.errors import BadDatabaseUrl
from storage.notify import Wakeups
from storage.outage import connect_existing, inode_of
from storage.records import Incoming, Recorded
from storage.worker_lock import WorkerLock
from storage.writer import Observer, Work, Writer

T = TypeVar("T")

BUSY_TIMEOUT_MS = 10_000
"""How long to wait for another process that writes the same file (a CLI call beside the server)."""

PAGE_CACHE_KB = 8_192
"""Page cache a connection. 64 MB was no quicker when measured, and cost its size in memory."""


class Database:
    """A database that is open. `write`, `append` and `read` are all that other parts use."""

    def __init__(self, url: str) -> None:
        self.url = parse_url(url)
        self.wakeups = Wakeups()
        self._readers = _read_engine(self.url)
        self._writer = Writer(_write_engine(self.url), self.wakeups)
        self.worker_lock = WorkerLock(Path(self.url.database or ""))

    async def open(self) -> None:
        """Start the writer. The schema must be there: see `storage.migrate`."""
        self._writer.start()

    async def close(self) -> None:
        """Write what waits and close all connections."""
        await self._writer.stop()
        await self._readers.dispose()

    async def append(self, incoming: Incoming) -> Recorded:
        """Keep one callback (transaction "ingest"). Returns after the commit; raises `NotDurable`."""
        return await self._writer.append(incoming)

    async def write(self, name: str, work: Callable[[Connection], T]) -> T:
        """Run a named transaction; its value, after the commit. Raises what it raised, or `NotDurable`."""
        (value,) = await self._writer.write([(name, work)])
        result: T = value
        return result

    async def write_together(self, *units: tuple[str, Work]) -> list[Any]:
        """Several named units, in order, in one transaction; their values."""
        return await self._writer.write(units)

    async def read(self, question: Callable[[Connection], T]) -> T:
        """Ask without writing, on a connection of its own."""
        async with self._readers.connect() as connection:
            return await connection.run_sync(question)

    def hear_only(self, signals: Container[str]) -> None:
        """Callbacks that give another signal are kept, and fanned out to nobody."""
        self._writer.heard = signals

    def observe(self, observer: Observer) -> None:
        """Have `observer` told before and after each commit, in the writing thread. For metrics and crash tests."""
        self._writer.observers.append(observer)


def parse_url(url: str) -> URL:
    """The address as people write it. Raises `BadDatabaseUrl` with what to write instead."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise BadDatabaseUrl(f"DATABASE_URL {url!r} is no database address; write sqlite:///path") from error
    if parsed.get_backend_name() in ("postgres", "postgresql"):
        raise BadDatabaseUrl(
            "DATABASE_URL names PostgreSQL, which this release does not speak yet; use sqlite:///path"
        )
    if parsed.drivername not in ("sqlite", "sqlite+aiosqlite"):
        raise BadDatabaseUrl(f"DATABASE_URL has the scheme {parsed.drivername!r}; write sqlite:///path")
    if not parsed.database or parsed.database == ":memory:":
        raise BadDatabaseUrl(
            "DATABASE_URL names no file, and an event in memory is an event lost; use sqlite:///path"
        )
    return parsed


def _write_engine(url: URL) -> Engine:
    path = url.database or ""
    engine = create_engine(url.set(drivername="sqlite"), creator=lambda: connect_existing(path))
    set_up_sqlite(engine, begin="BEGIN IMMEDIATE")
    return engine


def _read_engine(url: URL) -> AsyncEngine:
    engine = create_async_engine(url.set(drivername="sqlite+aiosqlite"), pool_size=4, max_overflow=0)
    set_up_sqlite(engine.sync_engine, begin="BEGIN")

    @event.listens_for(engine.sync_engine, "checkout")
    def on_checkout(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info["inode"] != inode_of(url.database or ""):
            raise DisconnectionError("another file has come in the place of the database")  # connects again

    return engine


def set_up_sqlite(engine: Engine, *, begin: str) -> None:
    """Have each connection of the engine use the journal, durability and kind of transaction that we rely on."""

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        record.info["inode"] = inode_of(engine.url.database or "")
        # The driver's own BEGIN comes late and is deferred: a lock would be met in the middle of a transaction.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # answered means durable, a power cut included
        cursor.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KB}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)
