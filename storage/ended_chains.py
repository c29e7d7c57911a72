"""Ended chains: found by a reader, and dropped in small batches.

A chain that fits into one batch is dropped whole or not at all; a larger one is dropped piece by piece: its events first,
then its tasks and submissions, and its own row last.

Nothing is paid for twice: the idempotency keys of dropped submissions are kept for ever (table `spent`), so that a callback
that arrives a year late presses nothing again. A chain with held, dead, refused or uncertain submissions is kept, and so is one that a ticket
shows which has not ended: its client still asks about it, or may answer a window on one of its tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import Connection

from storage import sql_pruning as sql
from storage.driver import locks
from storage.pruning import Cursor, drop_events
from storage.sql_pruning import ChainSubmission, ChainTask

_SETTLED = ("accepted", "existed", "rejected", "needs_modal")
"""States in which a submission may be dropped with its chain. An old modal that nobody answered counts as closed."""


def find(
    connection: Connection, cursor: Cursor, before_ms: int, most: int
) -> tuple[Cursor | None, list[str]]:
    """Among the next `most` chains, find those that ended before `before_ms`; returns where to continue (None at the end),
    and their ids. For a reader, because it examines everything in a chain."""
    rows = sql.OLD_CHAINS.all(
        connection, before_ms=before_ms, age_ms=cursor.age_ms, after=cursor.id, most=most
    )
    ended = [row.id for row in rows if _has_ended(connection, row.id, before_ms)]
    return (Cursor(rows[-1].created_at_ms, rows[-1].id) if rows else None), ended


def _has_ended(connection: Connection, chain_id: str, before_ms: int) -> bool:
    if sql.MOVED_TASK.first(connection, chain_id=chain_id, before_ms=before_ms) is not None:
        return False
    unsettled = sql.UNSETTLED_SUBMISSION.first(
        connection, chain_id=chain_id, settled=list(_SETTLED), before_ms=before_ms
    )
    if unsettled is not None:
        return False
    if sql.OPEN_TICKET.first(connection, chain_id=chain_id) is not None:
        return False
    undelivered = (sql.UNDELIVERED_OF_TASKS, sql.UNDELIVERED_OF_SUBMISSIONS)
    return all(query.first(connection, chain_id=chain_id) is None for query in undelivered)


_Outcome = Literal["kept", "more", "gone"]


def drop(connection: Connection, chain_ids: list[str], before_ms: int, most: int) -> tuple[list[str], int]:
    """Drop ended chains until about `most` rows are read; returns the chains still to do, and the number dropped."""
    left, gone, read = list(chain_ids), 0, 0
    while left and read < most:
        outcome, rows = _drop_part(connection, left[0], before_ms, most)
        read += rows
        if outcome != "more":
            left.pop(0)
            gone += outcome == "gone"
    return left, gone


def _drop_part(connection: Connection, chain_id: str, before_ms: int, most: int) -> tuple[_Outcome, int]:
    """Drop a chain, or the next piece of it, unless something has happened in it since `find`."""
    locks.chains(connection, [chain_id])
    # Locked on PostgreSQL, so that the checks below see a callback that is being stored right now, and an order that joins a submission.
    its_tasks = sql.HOLD_TASKS.all(connection, chain_id=chain_id, most=most + 1)
    its_submissions = sql.SUBMISSIONS_OF_CHAIN.all(connection, chain_id=chain_id, most=most + 1)
    its_events = [
        query.all(connection, chain_id=chain_id, most=most + 1)
        for query in (sql.EVENTS_OF_TASKS, sql.EVENTS_OF_SUBMISSIONS)
    ]
    event_ids = sorted({event_id for ids in its_events for event_id in ids[:most]})
    rows = 1 + len(its_tasks) + len(its_submissions) + len(event_ids)
    if _is_alive(its_tasks, its_submissions, before_ms):
        return "kept", rows
    if sql.OPEN_TICKET.first(connection, chain_id=chain_id) is not None:
        return "kept", rows
    if event_ids and sql.UNDELIVERED.first(connection, ids=event_ids) is not None:
        return "kept", rows
    drop_events(connection, event_ids)
    if max(map(len, its_events)) > most:
        return "more", rows
    _drop_tasks(connection, its_tasks[:most])
    _drop_submissions(connection, [row.id for row in its_submissions[:most]])
    if max(len(its_tasks), len(its_submissions)) > most:
        return "more", rows
    sql.DROP_FIRINGS(connection, scopes=[f"chain:{chain_id}"])
    sql.DROP_JOINS(connection, chain_id=chain_id)
    sql.DROP_STORE(connection, chain_id=chain_id)
    sql.DROP_APPROVALS(connection, chain_id=chain_id)
    sql.DROP_CHAIN(connection, chain_id=chain_id)
    return "gone", rows


def _is_alive(
    its_tasks: Sequence[ChainTask], its_submissions: Sequence[ChainSubmission], before_ms: int
) -> bool:
    moved_ms = [row.updated_at_ms for row in its_tasks] + [row.updated_at_ms for row in its_submissions]
    return any(at_ms >= before_ms for at_ms in moved_ms) or any(
        row.state not in _SETTLED for row in its_submissions
    )


def _drop_tasks(connection: Connection, gone: Sequence[ChainTask]) -> None:
    if not gone:
        return
    names = [{"upstream": row.upstream, "task_id": row.id} for row in gone]
    scopes = [f"{per}:{row.upstream}|{row.id}" for row in gone for per in ("task", "root")]
    sql.DROP_FIRINGS(connection, scopes=scopes)
    sql.DROP_ALIASES.many(connection, names)
    sql.DROP_TASK.many(connection, names)


def _drop_submissions(connection: Connection, ids: list[str]) -> None:
    if not ids:
        return
    sql.KEEP_KEYS(connection, ids=ids)
    sql.DROP_ATTEMPTS(connection, ids=ids)
    sql.DROP_SUBMISSIONS(connection, ids=ids)
