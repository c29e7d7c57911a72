"""Counts refused callbacks, with the time and details of the last one: one row for each upstream and reason."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection

from storage.events import sql
from storage.records.refusals import Refusal


def add(connection: Connection, counted: Iterable[Refusal]) -> None:
    """Add to the stored counts, in the order of the keys, so that two processes that write at once cannot deadlock."""
    for refusal in sorted(counted, key=lambda refusal: (refusal.upstream, refusal.why)):
        sql.ADD_REFUSAL(connection, **msgspec.structs.asdict(refusal))


def since(connection: Connection, since_ms: int) -> list[Refusal]:
    """The refusals whose last callback arrived since `since_ms`, newest first."""
    return sql.REFUSALS_SINCE.all(connection, since_ms=since_ms)
