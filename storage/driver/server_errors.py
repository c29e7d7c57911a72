"""Recognises the errors of a PostgreSQL server, without loading its driver: a server on a SQLite file saves 9 MB of memory.

While psycopg is not loaded, no error can be one of its errors.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    import psycopg

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_OUTAGE_CLASSES = ("08", "53", "57P", "58", "F0", "XX")
_OUTAGE_CODES = frozenset({"25006", "25P03", "57014"})
_CONFLICT_CODES = frozenset({"40001", "40P01"})
_LOCK_WAIT = "55P03"
_MISSING_RIGHT = "42501"
_UNKNOWN_CODES = frozenset({"0A000", "42883"})
_HOPELESS = (
    "authentication failed",
    "does not exist",
    "no pg_hba.conf entry",
    "certificate",
    "startup parameter",
)


def kinds() -> tuple[type[Exception], ...]:
    """The base class of psycopg's errors, for `except` and `suppress`; empty while psycopg is not loaded."""
    loaded = _psycopg()
    return () if loaded is None else (loaded.Error,)


def is_outage(error: BaseException | None) -> bool:
    """True if the server as a whole failed: gone, starting, full, read-only, out of connections."""
    if not _is_of_psycopg(error):
        return False
    code = error.sqlstate
    if code is None:  # libpq's own errors: no connection, or it broke
        loaded = _psycopg()
        return loaded is not None and isinstance(error, loaded.OperationalError | loaded.InterfaceError)
    return code in _OUTAGE_CODES or code.startswith(_OUTAGE_CLASSES)


def is_hopeless(error: BaseException | None) -> bool:
    """True if waiting will not make the connection possible: a wrong password, an unknown database."""
    return any(text in str(error) for text in _HOPELESS)


def is_conflict(error: BaseException | None) -> bool:
    """True if the work conflicted with another transaction, and can be repeated at once."""
    return _is_of_psycopg(error) and error.sqlstate in _CONFLICT_CODES


def is_lock_wait(error: BaseException | None) -> bool:
    """True if the wait for a row lock timed out, so that the work should be put off."""
    return _is_of_psycopg(error) and error.sqlstate == _LOCK_WAIT


def is_unknown(error: BaseException | None) -> bool:
    """True if the server lacks a function or feature of PostgreSQL, as CockroachDB and YugabyteDB lack some."""
    return _is_of_psycopg(error) and error.sqlstate in _UNKNOWN_CODES


def missing_right(error: BaseException | None) -> str | None:
    """What a role was denied, in the server's words; None if the error is another one."""
    if not _is_of_psycopg(error) or error.sqlstate != _MISSING_RIGHT:
        return None
    return error.diag.message_primary or ""


def _psycopg() -> ModuleType | None:
    """psycopg, once it is loaded."""
    loaded = sys.modules.get("psycopg")
    return loaded if hasattr(loaded, "Error") else None


def _is_of_psycopg(error: BaseException | None) -> TypeGuard[psycopg.Error]:
    return isinstance(error, kinds())
