"""Recognises outages, in which the database accepts no writes: a full disk, a lock that stays, a missing file or server.

No single write of a batch causes such a failure, so the whole batch is refused at once; otherwise each of five hundred writes
would wait for the same lock. The connection is then reopened, so that a repair (space freed, rights granted, the server
started) takes effect without a restart of hookchain.
"""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storage.driver import server_errors, sqlite
from storage.errors import NotDurable, Unkeepable


def driver_errors() -> tuple[type[Exception], ...]:
    """What a statement raises: SQLAlchemy's error for its own statements, and the driver's for those of storage/driver/statements.py."""
    return (DBAPIError, sqlite3.Error, *server_errors.kinds())


def original(error: BaseException) -> BaseException | None:
    """The driver's error; None if no driver raised it."""
    if isinstance(error, DBAPIError):
        return error.orig
    return error if isinstance(error, driver_errors()) else None


def is_outage(error: BaseException) -> bool:
    """True if the database as a whole failed, and not just this write."""
    if isinstance(error, NotDurable | DisconnectionError):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return sqlite.is_outage(original(error)) or server_errors.is_outage(original(error))


def is_lock_wait(error: BaseException) -> bool:
    """True if the write timed out on a row lock: other writes need not wait behind it."""
    return server_errors.is_lock_wait(original(error))


def is_conflict(error: BaseException) -> bool:
    """True if the write conflicted with another transaction, and can be repeated at once."""
    return server_errors.is_conflict(original(error))


def translated(error: BaseException) -> Exception:
    """The error to raise in the task that waits for a write; a new object, since each waiting task raises its own. An error
    that a future does not accept, or that would end the waiting task, becomes a `RuntimeError`."""
    translation: Exception
    if isinstance(error, driver_errors()):
        passes = is_outage(error) or is_conflict(error) or is_lock_wait(error)
        kind = NotDurable if passes else Unkeepable
        translation = kind(f"the database refused: {original(error)}")
    elif isinstance(error, NotDurable | DisconnectionError | PoolTimeout):
        translation = NotDurable(str(error))
    elif isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    else:
        translation = RuntimeError(f"a write raised {error!r}")
    translation.__cause__ = error
    return translation
