"""The protocol of durable work, for both tables: claim, finish, give back, retry, drop.

Claiming counts the attempt, whose number only grows. Finishing and giving back name the attempt: once another worker has begun the
next one, they change nothing. A finished row is done for good, waits for another try, or is a dead letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy import Connection

from storage.driver.statements import Query
from storage.duty.duties import Duty
from storage.duty.held import Held
from storage.errors import LeaseLost

Id = TypeVar("Id", int, str)


def claim(
    connection: Connection, duty: Duty, ids: Sequence[object], *, worker: str, now_ms: int, **values: object
) -> None:
    """Begin the next attempt of rows that this transaction has selected, and locked on PostgreSQL. Raises `LeaseLost`."""
    to = duty.states.running
    before = duty.states.before("claim", to)
    claimed = duty.claim(
        connection, ids=list(ids), before=before, to=to, worker=worker, now_ms=now_ms, **values
    )
    if claimed != len(ids):
        raise LeaseLost(f"{len(ids) - claimed} of {len(ids)} {duty.table} are no longer waiting")


def finish(
    connection: Connection,
    duty: Duty,
    held: Held,
    *,
    by: str,
    to: str,
    excused: bool,
    run_at_ms: int,
    now_ms: int,
    **values: object,
) -> None:
    """End an attempt. An `excused` one does not count as a try. Raises `LeaseLost` if it is no longer the current one."""
    finished = duty.finish(
        connection,
        id=held.id,
        attempt=held.attempt,
        before=duty.states.before(by, to),
        to=to,
        excused=int(excused),
        run_at_ms=run_at_ms,
        now_ms=now_ms,
        **values,
    )
    if finished != 1:
        raise LeaseLost(f"{duty.states.of} {held.id}, attempt {held.attempt}")


def give_back(connection: Connection, duty: Duty, held: Sequence[Held], now_ms: int) -> int:
    """Return rows to waiting and excuse their attempts, which were interrupted; returns how many were still current."""
    to = duty.states.waiting
    (running,) = duty.states.before("give_back", to)
    rows = [
        {"id": one.id, "attempt": one.attempt, "running": running, "to": to, "now_ms": now_ms} for one in held
    ]
    return duty.give_back.many(connection, rows) if rows else 0


def retry(
    connection: Connection,
    duty: Duty,
    statement: Query[Id],
    ids: Sequence[Id],
    now_ms: int,
    **values: object,
) -> list[Id]:
    """Requeue dead rows by a statement of `storage.duty.sql.retry_of`, with all their attempts; returns their ids.

    The attempt number continues to grow, because a frozen worker may end an earlier attempt late; earlier attempts no longer count.
    """
    to = duty.states.waiting
    before = duty.states.before("retry", to)
    return (
        statement.all(connection, ids=list(ids), before=before, to=to, now_ms=now_ms, **values) if ids else []
    )


def drop(connection: Connection, duty: Duty, ids: Sequence[object], now_ms: int) -> int:
    """Discard dead rows for good; returns their number. The rows stay, in the state `dropped`, and their reason says so."""
    to = duty.states.dropped
    before = duty.states.before("drop", to)
    return duty.drop(connection, ids=list(ids), before=before, to=to, now_ms=now_ms) if ids else 0
