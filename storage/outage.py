"""When the database cannot take anything: a full disk, a lock that stays, a file or a server that is gone.

Such a failure is nobody's fault in a batch: the whole batch is refused at once, where one by one each of five hundred
writes would wait for the same lock. And the connection is opened again, so that what was mended outside (space made,
rights given, a server started) counts without a restart of ours.
"""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storage import postgres, sqlite
from storage.errors import NotDurable, Unkeepable


def is_outage(error: BaseException) -> bool:
    """Whether the database as a whole refused, and not this write."""
    if isinstance(error, NotDurable | DisconnectionError):
        return True
    return isinstance(error, DBAPIError) and (
        error.connection_invalidated or sqlite.is_outage(error.orig) or postgres.is_outage(error.orig)
    )


def is_lock_wait(error: BaseException) -> bool:
    """Whether another process held a row for too long: others need not wait behind this."""
    return isinstance(error, DBAPIError) and postgres.is_lock_wait(error.orig)


def is_conflict(error: BaseException) -> bool:
    """Whether another process was in the way, and the same work may be done again at once."""
    return isinstance(error, DBAPIError) and postgres.is_conflict(error.orig)


def translated(error: Exception) -> Exception:
    """What the one who waits is told: an error of its own, since each raises it in its own task."""
    told: NotDurable | Unkeepable
    if isinstance(error, DBAPIError):
        passes = is_outage(error) or is_conflict(error) or is_lock_wait(error)
        kind = NotDurable if passes else Unkeepable
        told = kind(f"the database refused: {error.orig}")
    elif isinstance(error, NotDurable | DisconnectionError | PoolTimeout):
        told = NotDurable(str(error))
    else:
        return error
    told.__cause__ = error
    return told
