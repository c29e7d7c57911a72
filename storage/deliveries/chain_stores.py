"""The store of a chain, which plugins read when their run begins and write when it ends, in the same transaction as its end.

Two runs that change one store at the same moment would lose a change. So a change names the version that it was made from, and that
version is compared under the lock of the chain: the first change counts, and every other run is done again.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from storage.deliveries import sql
from storage.driver import locks
from storage.records import StoreChange, StoredValues

EMPTY = StoredValues()


def find(connection: Connection, chain_id: str) -> StoredValues:
    """What is kept for a chain; `EMPTY` if nothing ever was."""
    return sql.STORE.first(connection, chain_id=chain_id) or EMPTY


def contents(connection: Connection) -> dict[str, str]:
    """What is kept for each chain, as JSON objects."""
    return {row.chain_id: row.content for row in sql.STORES.all(connection)}


def outdated(connection: Connection, changes: Sequence[StoreChange | None]) -> list[bool]:
    """For each change, True if another one has come before it: in the database, or earlier in this list. Locks the chains."""
    chain_ids = sorted({change.chain_id for change in changes if change is not None})
    if not chain_ids:
        return [False] * len(changes)
    locks.chains(connection, chain_ids)
    newest = {row.chain_id: row.version for row in sql.STORE_VERSIONS.all(connection, chain_ids=chain_ids)}
    found = []
    for change in changes:
        is_late = change is not None and newest.get(change.chain_id, 0) != change.before
        found.append(is_late)
        if change is not None and not is_late:
            newest[change.chain_id] = change.before + 1
    return found


def keep(connection: Connection, changes: Sequence[StoreChange], now_ms: int) -> None:
    """Write changes that are not outdated, at most one for each chain."""
    rows: list[dict[str, object]] = [
        {
            "chain_id": change.chain_id,
            "version": change.before + 1,
            "content": change.content,
            "now_ms": now_ms,
        }
        for change in changes
    ]
    if rows:
        sql.KEEP_STORE.all_at_once(connection, rows)
