"""How many submissions rules and plugins made at an upstream in the last hour: exactly where that decides, else at most.

Counting reads a row for each of them. While the limit is far away, the last count and what was staged since then are enough.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from storage.driver.locks import many_writers
from storage.submissions import sql
from storage.upstreams import standings

HOUR_MS = 3_600_000

NEAR = 256
"""Submissions that other connections may stage unseen, in their transactions of this moment and since the last count."""

COUNT_LASTS_MS = 10_000
"""How long a count serves the only connection that stages. Other programs only add what people release."""

SHARED_COUNT_LASTS_MS = 100
"""The same where other processes stage too: so many that they are fewer than `NEAR` at 2,000 a second."""

_KEY = "hourly"


class _Count(msgspec.Struct):
    """The last count at an upstream, with what this connection has staged since then, even if that was rolled back."""

    at_ms: int
    most: int


def at_most(connection: Connection, upstream: str, now_ms: int) -> int:
    """A number that the exact one does not exceed, whatever other connections stage now."""
    count = _counts(connection).get(upstream)
    lasts_ms = SHARED_COUNT_LASTS_MS if many_writers(connection) else COUNT_LASTS_MS
    if count is None or not count.at_ms <= now_ms < count.at_ms + lasts_ms:
        count = _Count(now_ms, _counted(connection, upstream, now_ms))
        _counts(connection)[upstream] = count
    return count.most + NEAR


def exactly(connection: Connection, upstream: str, now_ms: int) -> int:
    """The exact number, while no other process stages there."""
    if many_writers(connection):
        standings.held(connection, upstream)
    counted = _counted(connection, upstream, now_ms)
    _counts(connection)[upstream] = _Count(now_ms, counted)
    return counted


def add(connection: Connection, upstream: str) -> None:
    """Note that this connection has staged one."""
    count = _counts(connection).get(upstream)
    if count is not None:
        count.most += 1


def _counted(connection: Connection, upstream: str, now_ms: int) -> int:
    return sql.COUNT_AUTOMATIC.one(connection, upstream=upstream, since_ms=now_ms - HOUR_MS)


def _counts(connection: Connection) -> dict[str, _Count]:
    counts: dict[str, _Count] = connection.info.setdefault(_KEY, {})
    return counts
