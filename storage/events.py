"""Events: append them; find those that nobody was told of yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Row, and_, bindparam, exists, select, update

from storage import schema
from storage.bulk import insert_rows
from storage.locks import many_writers
from storage.prepared import Prepared
from storage.records import Event, PendingEvent, Source

events, tasks = schema.events, schema.tasks

EVENT_COLUMNS = tuple(events.c[name] for name in Event.__struct_fields__)


class NewEvent(NamedTuple):
    """An event on its way in: the columns, in the order they are written."""

    upstream: str
    task_id: str
    submission_id: str
    source: Source
    signal: str | None
    action: str
    status: str
    progress: int | None
    advanced: bool
    pending: bool
    detail: str
    payload: bytes
    received_at_ms: int


def append(connection: Connection, rows: Sequence[NewEvent]) -> None:
    """Append events, in this order."""
    insert_rows(connection, events, rows, NewEvent._fields)


def record(
    connection: Connection,
    *,
    upstream: str,
    signal: str | None,
    source: Source,
    now_ms: int,
    task_id: str = "",
    submission_id: str = "",
    action: str = "",
    status: str = "",
    detail: str = "",
    payload: bytes = b"",
) -> None:
    """Append a fact that is no task payload: an answer, a budget that ran out."""
    new = NewEvent(
        upstream=upstream,
        task_id=task_id,
        submission_id=submission_id,
        source=source,
        signal=signal,
        action=action,
        status=status,
        progress=None,
        advanced=False,
        pending=signal is not None,
        detail=detail,
        payload=payload,
        received_at_ms=now_ms,
    )
    append(connection, [new])


SKEW_MS = 2_000
"""How far the clocks of two machines may be apart, where one kept the callback and another sent the submission."""

# A task nobody tied to a chain may be the child of a submit that is on its way: its callback can overtake the answer.
# Told now, it would count as a root, with a budget of its own and depth 0. So it waits for those answers.
_may_be_a_child = and_(
    tasks.c.chain_id.is_(None),
    exists().where(
        # Not by the index of upstreams: SQLite would take it, and read all of the upstream's for each event.
        schema.submissions.c.upstream + "" == events.c.upstream,
        schema.submissions.c.state == "sending",
        schema.submissions.c.started_at_ms <= events.c.received_at_ms + bindparam("skew_ms"),
    ),
)
_pending = Prepared(
    select(
        events.c.id,
        events.c.upstream,
        events.c.task_id,
        events.c.signal,
        events.c.action,
        tasks.c.chain_id,
        tasks.c.parent_id,
    )
    .select_from(
        events.outerjoin(tasks, and_(tasks.c.upstream == events.c.upstream, tasks.c.id == events.c.task_id))
    )
    .where(events.c.pending, ~_may_be_a_child)
    .order_by(events.c.id)
    .limit(bindparam("most"))
)
_told = Prepared(
    update(events).where(events.c.id.in_(bindparam("ids", expanding=True))).values(pending=False)
)


def pending(connection: Connection, most: int) -> list[PendingEvent]:
    """The oldest events that were not fanned out, in order, without those that wait to learn whose child they are."""
    skew_ms = SKEW_MS if many_writers(connection) else 0
    return [PendingEvent(**row._mapping) for row in _pending(connection, most=most, skew_ms=skew_ms)]


def mark_fanned_out(connection: Connection, event_ids: list[int]) -> None:
    """These events have their deliveries."""
    _told(connection, ids=event_ids)


def event_of(row: Row[tuple[object, ...]]) -> Event:
    """A row of EVENT_COLUMNS as a record."""
    return Event(**row._mapping)


_latest_payload = Prepared(
    select(events.c.payload)
    .where(
        events.c.upstream == bindparam("of_upstream"),
        events.c.task_id == bindparam("of_task"),
        events.c.advanced,
    )
    .order_by(events.c.id.desc())
    .limit(1)
)


def latest_payload(connection: Connection, upstream: str, task_id: str) -> bytes:
    """The newest payload that moved a task, or b""."""
    if not task_id:
        return b""
    return _latest_payload(connection, of_upstream=upstream, of_task=task_id).scalar() or b""
