"""SQLite: one file, one writer, and readers beside it. What its connections need, and how its outages look."""

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
"""How long to wait for another process that writes the same file (a CLI call beside the server)."""

PAGE_CACHE_KB = 8_192
"""Page cache a connection. 64 MB was no quicker when measured, and cost its size in memory."""

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
"""Primary result codes (https://sqlite.org/rescode.html) that say nothing about the statement."""


def obstacle(file: Path) -> str:
    """Why a file cannot be made or written where it should lie, and what to do; "" where its directory is not the reason."""
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
    """Whether the file as a whole refused: full, locked, read-only, gone, or another one without our tables."""
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_ERROR:  # a database is migrated before it is used: its tables were there
        return str(error).startswith("no such table")
    return code is not None and code & 0xFF in _OUTAGES


def write_engine(path: Path) -> Engine:
    """For the one writing connection."""
    engine = create_engine(_url("sqlite", path), creator=lambda: _connect_existing(path))
    _set_up(engine, path, begin="BEGIN IMMEDIATE")
    return engine


def migration_engine(path: Path) -> Engine:
    """The one that may make the file."""
    engine = create_engine(_url("sqlite", path))
    _set_up(engine, path, begin="BEGIN IMMEDIATE")
    return engine


def read_engine(path: Path) -> AsyncEngine:
    """For questions, beside the writer."""
    address = URL.create("sqlite+aiosqlite", database=_file(path), query={"mode": "rw", "uri": "true"})
    engine = create_async_engine(address, pool_size=4, max_overflow=0)
    _set_up(engine.sync_engine, path, begin="BEGIN")
    _check_at_checkout(engine.sync_engine, path)
    return engine


def look_engine(path: Path) -> Engine:
    """For questions that a thread asks."""
    engine = create_engine(_url("sqlite", path), creator=lambda: _connect_existing(path), pool_size=1)
    _set_up(engine, path, begin="BEGIN")
    _check_at_checkout(engine, path)
    return engine


def _check_at_checkout(engine: Engine, path: Path) -> None:
    @event.listens_for(engine, "checkout")
    def on_checkout(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info["inode"] != _inode_of(path):
            raise DisconnectionError("another file has come in the place of the database")  # connects again


def _set_up(engine: Engine, path: Path, *, begin: str) -> None:
    """Have each connection of the engine use the journal, durability and kind of transaction that we rely on."""

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        record.info["inode"] = _inode_of(path)
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


def _url(driver: str, path: Path) -> URL:
    return URL.create(driver, database=str(path))


def _file(path: Path) -> str:
    """The path for an address with mode=rw, which opens what is there: else an empty database would be made in the place
    of one that is gone."""
    return f"file:{quote(str(path))}"


def _connect_existing(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{_file(path)}?mode=rw", uri=True, check_same_thread=False)


def _inode_of(path: Path) -> int | None:
    """Which file the path leads to now; None when there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


def check_in_place(connection: Connection, engine: Engine) -> None:
    """Raise `NotDurable` when the connection's file is no longer the one at its path.

    SQLite writes on into a file that was moved or deleted, and says nothing: with the last connection all of it is gone.
    """
    path = engine.url.database
    if path is None or "inode" not in connection.info:
        return  # no file of ours
    if connection.info["inode"] != _inode_of(Path(path)):
        raise NotDurable(f"the database file {path} was moved or deleted while it was in use; put it back")


def checkpoint(connection: Connection) -> None:
    """Move the journal into the database file. Raises `sqlite3.Error`; nothing is lost by it."""
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
