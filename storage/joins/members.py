"""Reads what a chain consists of, for the receivers of joins."""

from __future__ import annotations

from sqlalchemy import Connection

from storage.driver.decoder import columns_of
from storage.driver.statements import Query
from storage.events import event_log
from storage.records import JOINS, ChainMember, ChainRow, MadeBy, TaskRow

_TASKS = Query(
    f"SELECT {columns_of(TaskRow)} FROM tasks WHERE chain_id = :chain_id ORDER BY depth, created_at_ms, id",
    TaskRow,
)
# The request last, and only where it is short: that of others may hold an image.
_REQUEST = "CASE WHEN kind = 'action' THEN request END"
_SUBMISSIONS = Query(
    f"""
    SELECT {columns_of(MadeBy).replace("request", _REQUEST)} FROM submissions
    WHERE chain_id = :chain_id AND kind <> 'cancel'
    ORDER BY depth, created_at_ms, label, id
    """,
    MadeBy,
)


def of_join(connection: Connection, signal: str | None, chain: ChainRow | None) -> tuple[ChainMember, ...]:
    """The members of a chain for an event that is a join; none for any other event, whose receivers do not see them."""
    return of_chain(connection, chain.id) if signal in JOINS and chain is not None else ()


def of_chain(connection: Connection, chain_id: str) -> tuple[ChainMember, ...]:
    """The tasks of a chain, and its submissions that made none: parents before children, and what was requested first comes first."""
    rows = _TASKS.all(connection, chain_id=chain_id)
    submissions = _SUBMISSIONS.all(connection, chain_id=chain_id)
    payloads = {
        (upstream, task_id): payload
        for upstream in {row.upstream for row in rows}
        for task_id, payload in event_log.latest_payloads(
            connection, upstream, [row.id for row in rows if row.upstream == upstream]
        ).items()
    }
    makers = {one.id: one for one in submissions}
    made = [
        ChainMember(
            task=row,
            made_by=makers.get(row.submission_id or ""),
            payload=payloads.get((row.upstream, row.id), b""),
        )
        for row in rows
    ]
    shown = {(row.upstream, row.id) for row in rows}
    alone = [
        ChainMember(made_by=one)
        for one in submissions
        if not any((one.upstream, task_id) in shown for task_id in one.task_ids)
    ]
    return tuple(sorted([*made, *alone], key=_place))


def _place(member: ChainMember) -> tuple[int, int, str]:
    """By depth, then by the time of the request, then by the button: U1 before U2, which were pressed at the same moment."""
    task, maker = member.task, member.made_by
    if maker is not None:
        return (task.depth if task is not None else maker.depth), maker.created_at_ms, maker.label
    return (0, 0, "") if task is None else (task.depth, task.created_at_ms, task.id)
