"""Submissions and their results, for cost reports by rule, chain or day."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from storage.reading.sql_history import ENTRIES, Entry


def entries(connection: Connection, since_ms: int) -> Iterator[Entry]:
    """All submissions created since `since_ms`, oldest first."""
    return ENTRIES.each(connection, since_ms=since_ms)


__all__ = ["Entry", "entries"]
