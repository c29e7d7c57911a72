"""Row locks for PostgreSQL, which has many writers. SQLite has one writer at a time, so that its functions do nothing.

The rules: lock first, then read, in two statements, because a statement that waits for a lock continues with the rows that it
read before the wait. And always in the same order, to avoid deadlocks: chain, submission, task, upstream.
"""

from __future__ import annotations

from sqlalchemy import Connection

from storage.driver.statements import Query


def many_writers(connection: Connection) -> bool:
    """True if other processes may write during this transaction (PostgreSQL)."""
    return connection.dialect.name != "sqlite"


_CHAIN = Query("SELECT id FROM chains WHERE id = :id FOR UPDATE", str)
_SUBMISSIONS = Query("SELECT id FROM submissions WHERE id IN (:ids) ORDER BY id FOR UPDATE", str)
_TURN = Query("SELECT name FROM leases WHERE name = :name FOR UPDATE SKIP LOCKED", str)


def chain(connection: Connection, chain_id: str) -> None:
    """Lock the chain's row until the transaction ends."""
    if many_writers(connection):
        _CHAIN.first(connection, id=chain_id)


def submissions(connection: Connection, ids: list[str]) -> None:
    """Lock the rows of submissions until the transaction ends."""
    if ids and many_writers(connection):
        _SUBMISSIONS.first(connection, ids=sorted(ids))


def turn(connection: Connection, name: str) -> bool:
    """True if this transaction got the exclusive turn with this name; False while another transaction has it."""
    return not many_writers(connection) or _TURN.first(connection, name=name) is not None
