"""The protocol of durable work, for both tables: claim, finish, give back, retry, drop.

Claiming counts the attempt, whose number only grows. Finishing and giving back name the attempt: once another worker has begun the
next one, they change nothing. A finished row is done for good, waits for another try, or is a dead letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec
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


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt ends. An `excused` one does not count as a try; `values` are those of the columns of its table."""

    held: Held
    to: str
    excused: bool
    run_at_ms: int
    values: Mapping[str, object]


def finish(
    connection: Connection, duty: Duty, ends: Sequence[End], *, by: str, now_ms: int
) -> set[int | str]:
    """End attempts at different rows; returns the ids of those that were current, and are ended now. On PostgreSQL their rows must be
    locked, if they are several."""
    of_before: dict[tuple[str, ...], list[dict[str, object]]] = {}
    for one in ends:
        row = {
            "id": one.held.id,
            "attempt": one.held.attempt,
            "to": one.to,
            "excused": int(one.excused),
            "run_at_ms": one.run_at_ms,
            **one.values,
        }
        of_before.setdefault(tuple(duty.states.before(by, one.to)), []).append(row)
    ended: set[int | str] = set()
    for before, rows in of_before.items():
        ended.update(duty.finish.all_of_rows(connection, rows, before=list(before), now_ms=now_ms))
    return ended


def lost(duty: Duty, held: Held) -> LeaseLost:
    """The error for an attempt that is no longer the current one."""
    return LeaseLost(f"{duty.states.of} {held.id}, attempt {held.attempt}")


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
