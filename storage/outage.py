"""When the database cannot take anything: a full disk, a lock that stays, a file that is gone.

Such a failure is nobody's fault in a batch: the whole batch is refused at once, where one by one each of five hundred
writes would wait for the same lock. And the connection is opened again, so that what was mended outside (space made,
rights given, a file put back) counts without a restart.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from storage.errors import NotDurable

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


def is_outage(error: BaseException) -> bool:
    """Whether the database as a whole refused, and not this write."""
    if isinstance(error, NotDurable):
        return True
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _OUTAGES


def connect_existing(path: str) -> sqlite3.Connection:
    """Open a file that is there. Without this an empty database would be made in the place of one that is gone."""
    return sqlite3.connect(f"file:{quote(path)}?mode=rw", uri=True, check_same_thread=False)


def inode_of(path: str) -> int | None:
    """Which file the path leads to now; None when there is none."""
    try:
        return Path(path).stat().st_ino
    except OSError:
        return None


def check_in_place(connection: Connection, engine: Engine) -> None:
    """Raise `NotDurable` when the connection's file is no longer the one at its path.

    SQLite writes on into a file that was moved or deleted, and says nothing: with the last connection all of it is gone.
    """
    path = engine.url.database
    if path is None or "inode" not in connection.info:
        return  # no file of ours
    if connection.info["inode"] != inode_of(path):
        raise NotDurable(f"the database file {path} was moved or deleted while it was in use; put it back")
