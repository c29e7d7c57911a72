"""SQLite, with one file, one writer and several readers: its connection settings, and how to recognise its outages."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from storage.errors import NotDurable

BUSY_TIMEOUT_MS = 10_000
"""How long to wait for another process that writes to the same file (a CLI command beside the server)."""

SYNCHRONOUS = "FULL"
"""An answered callback survives even a power cut."""

PAGE_CACHE_KB = 2_048
"""Page cache per connection, of which a process has up to six. When measured, 8 MB was no faster and cost its size in memory."""

_OUTAGES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
"""Primary result codes (https://sqlite.org/rescode.html) of failures that the statement did not cause."""


def obstacle(file: Path) -> str:
    """Why a file cannot be created or written in its directory, and what to do; "" if the directory is not the reason."""
    directory = file.absolute().parent
    if not directory.is_dir():
        return f"; the directory {directory} does not exist"
    if os.access(directory, os.W_OK):
        return ""
    if not hasattr(os, "geteuid"):
        return f"; the directory {directory} is not writable"
    owner, user = directory.stat().st_uid, os.geteuid()
    return f"; the directory {directory} belongs to user {owner}, and hookchain runs as user {user}: chown {user} it"


def is_outage(error: BaseException | None) -> bool:
    """True if the file as a whole failed: full, locked, read-only, gone, or replaced by one without our tables."""
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_ERROR:  # a database is migrated before it is used, so its tables did exist
        return str(error).startswith("no such table")
    return code is not None and code & 0xFF in _OUTAGES


def write_engine(path: Path) -> Engine:
    """An engine for the one writing connection."""
    engine = create_engine(_url("sqlite", path), creator=lambda: _connect_existing(path))
    _set_up(engine, path, begin="BEGIN IMMEDIATE")
    return engine


def memory_engine() -> Engine:
    """An engine for one connection to an empty database in memory, which is gone when the connection is closed."""
    engine = create_engine("sqlite://")

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA temp_store = MEMORY")

    return engine


def migration_engine(path: Path) -> Engine:
    """An engine for migrations, the only one that may create the file."""
    engine = create_engine(_url("sqlite", path))
    _set_up(engine, path, begin="BEGIN IMMEDIATE")
    return engine


def read_engine(path: Path) -> AsyncEngine:
    """An engine for reads on the event loop."""
    address = URL.create("sqlite+aiosqlite", database=_file(path), query={"mode": "rw", "uri": "true"})
    engine = create_async_engine(address, pool_size=4, max_overflow=0)
    _set_up(engine.sync_engine, path, begin="BEGIN")
    _check_at_checkout(engine.sync_engine, path)
    return engine


def look_engine(path: Path) -> Engine:
    """An engine for reads in a thread."""
    engine = create_engine(_url("sqlite", path), creator=lambda: _connect_existing(path), pool_size=1)
    _set_up(engine, path, begin="BEGIN")
    _check_at_checkout(engine, path)
    return engine


def glance_engine(path: Path) -> Engine:
    """An engine for one query to a file of any release, which it does not change."""
    return create_engine(
        _url("sqlite", path), creator=lambda: sqlite3.connect(f"{_file(path)}?mode=ro", uri=True)
    )


def _check_at_checkout(engine: Engine, path: Path) -> None:
    @event.listens_for(engine, "checkout")
    def on_checkout(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info["inode"] != _inode_of(path):
            # Makes SQLAlchemy connect again.
            raise DisconnectionError("the database file was replaced by another file")


def _set_up(engine: Engine, path: Path, *, begin: str) -> None:
    """Set the journal mode, durability and kind of transaction that we rely on, for each connection of the engine."""

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        record.info["inode"] = _inode_of(path)
        # The driver's own BEGIN is late and deferred: a transaction could meet a lock in its middle.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
        cursor.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KB}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.connection.cursor().execute(begin)


def _url(driver: str, path: Path) -> URL:
    return URL.create(driver, database=str(path))


def _file(path: Path) -> str:
    """The path as a file URI for mode=rw, which opens only an existing file: otherwise SQLite would create an empty database
    in place of a missing one."""
    return f"file:{quote(str(path))}"


def _connect_existing(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{_file(path)}?mode=rw", uri=True, check_same_thread=False)


def _inode_of(path: Path) -> int | None:
    """The inode of the file that is at the path now; None if there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


def check_in_place(connection: Connection, engine: Engine) -> None:
    """Raise `NotDurable` if the connection's file is no longer the one at its path.

    SQLite silently continues to write to a file that was moved or deleted, and the data is lost with the last connection.
    """
    path = engine.url.database
    if path is None or "inode" not in connection.info:
        return  # not one of our connections to a file
    if connection.info["inode"] != _inode_of(Path(path)):
        raise NotDurable(f"the database file {path} was moved or deleted while it was in use; put it back")


def checkpoint(connection: Connection) -> None:
    """Move the journal into the database file. Raises `sqlite3.Error`, which is harmless."""
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
