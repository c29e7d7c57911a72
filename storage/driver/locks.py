"""Row locks for PostgreSQL, which has many writers. SQLite has one writer at a time, so that its functions do nothing.

The rules: lock first, then read, in two statements, because a statement that waits for a lock continues with the rows that it
read before the wait. And always in the same order, to avoid deadlocks: chain, submission, task, upstream.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from storage.driver.statements import Query


def many_writers(connection: Connection) -> bool:
    """True if other processes may write during this transaction (PostgreSQL)."""
    return connection.dialect.name != "sqlite"


_CHAINS = Query("SELECT id FROM chains WHERE id IN (:ids) ORDER BY id FOR UPDATE", str)
_SUBMISSIONS = Query("SELECT id FROM submissions WHERE id IN (:ids) ORDER BY id FOR UPDATE", str)
_DELIVERIES = Query("SELECT id FROM deliveries WHERE id IN (:ids) ORDER BY id FOR UPDATE", int)
_TURN = Query("SELECT name FROM leases WHERE name = :name FOR UPDATE SKIP LOCKED", str)

_CLIENT = Query("SELECT 1 FROM pg_advisory_xact_lock(hashtextextended(:name, 21))", int)


def client(connection: Connection, name: str) -> None:
    """Let the orders of one client of the gateway be taken one after the other, until the transaction ends."""
    if many_writers(connection):
        _CLIENT.first(connection, name=name)


def chains(connection: Connection, ids: Collection[str]) -> None:
    """Lock the rows of chains until the transaction ends."""
    if ids and many_writers(connection):
        _CHAINS.all(connection, ids=sorted(ids))


def deliveries(connection: Connection, ids: Collection[int]) -> None:
    """Lock the rows of several deliveries until the transaction ends. One needs no lock before it is updated."""
    if len(ids) > 1 and many_writers(connection):
        _DELIVERIES.all(connection, ids=sorted(ids))


def submissions(connection: Connection, ids: list[str]) -> None:
    """Lock the rows of submissions until the transaction ends."""
    if ids and many_writers(connection):
        _SUBMISSIONS.first(connection, ids=sorted(ids))


def turn(connection: Connection, name: str) -> bool:
    """True if this transaction got the exclusive turn with this name; False while another transaction has it."""
    return not many_writers(connection) or _TURN.first(connection, name=name) is not None
