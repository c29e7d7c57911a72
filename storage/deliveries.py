"""Deliveries: one for each receiver of an event; made by the fan-out, claimed by workers. Their ends: endings.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    RowMapping,
    Table,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert  # compiles for SQLite too

from storage import chains, events, locks, schema, submissions, tasks
from storage.locks import many_writers
from storage.prepared import Prepared
from storage.records import (
    ChainRow,
    ClaimedDelivery,
    Delivery,
    Event,
    PendingEvent,
    Submission,
    TaskRow,
)

deliveries = schema.deliveries

DELIVERY_COLUMNS = tuple(deliveries.c[name] for name in Delivery.__struct_fields__)

Route = Callable[[PendingEvent], Sequence[str]]
"""Names of the receivers that listen to an event."""

Room = Callable[[str], int]
"""How many more runs a receiver may have at the same time."""

_add = Prepared(upsert(deliveries).on_conflict_do_nothing(index_elements=["event_id", "receiver"]))


def fan_out(connection: Connection, route: Route, most: int, now_ms: int) -> int:
    """Give the oldest pending events one delivery for each of their receivers; how many events that were.

    A task that is told about needs a chain by then: its receivers will ask for it.
    """
    if not locks.turn(connection, "fan_out"):
        return 0  # so that a receiver's deliveries are made in the order of their events, whoever makes them
    waiting = events.pending(connection, most)
    routes = {event.id: route(event) for event in waiting}
    _hold_those_to_adopt(connection, [event for event in waiting if routes[event.id]])
    rows = []
    for event in waiting:
        receivers = routes[event.id]
        if receivers and event.chain_id is None and event.parent_id is not None:
            chains.adopt(connection, event.upstream, event.task_id, event.parent_id, now_ms)
        lane = f"{event.upstream}|{event.task_id}" if event.task_id else ""
        rows += [_new_values(event.id, receiver, lane, now_ms) for receiver in receivers]
    if rows:
        _add.many(connection, rows)
    if waiting:
        events.mark_fanned_out(connection, [event.id for event in waiting])
    return len(waiting)


def _hold_those_to_adopt(connection: Connection, heard: Sequence[PendingEvent]) -> None:
    """All tasks whose chains may be written, in the order in which callbacks hold them: else each would wait for the
    other's."""
    if not many_writers(connection):
        return
    wanted: dict[str, set[str]] = {}
    for event in heard:
        if event.chain_id is None and event.parent_id is not None:
            wanted.setdefault(event.upstream, set()).update({event.task_id, event.parent_id} - {""})
    for upstream in sorted(wanted):
        tasks.held_all(connection, upstream, wanted[upstream])


def _new_values(event_id: int, receiver: str, lane: str, now_ms: int) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "receiver": receiver,
        "lane": lane,
        "state": "waiting",
        "attempts": 0,
        "excused": 0,
        "run_at_ms": now_ms,
        "fired": False,
        "decision": "",
        "error": "",
        "created_at_ms": now_ms,
        "updated_at_ms": now_ms,
    }


_earlier = deliveries.alias("earlier")
_same_lane = and_(
    _earlier.c.receiver == deliveries.c.receiver,
    _earlier.c.lane == deliveries.c.lane,
    text("earlier.state IN ('waiting', 'running')"),  # in the words of the index
)
DUE = Prepared(
    select(*DELIVERY_COLUMNS)
    .where(
        deliveries.c.state == "waiting",
        deliveries.c.run_at_ms <= bindparam("now_ms"),
        or_(deliveries.c.lane == "", ~exists().where(_same_lane, _earlier.c.id < deliveries.c.id)),
        deliveries.c.receiver.not_in(bindparam("full", expanding=True)),
    )
    .order_by(deliveries.c.run_at_ms, deliveries.c.id)
    .limit(bindparam("most"))
    .with_for_update(of=deliveries, skip_locked=True)
)
_claim = Prepared(
    update(deliveries)
    .where(deliveries.c.id.in_(bindparam("ids", expanding=True)))
    .values(
        state="running",
        worker=bindparam("by"),
        attempts=deliveries.c.attempts + 1,
        updated_at_ms=bindparam("now_ms"),
    )
)


def claim(
    connection: Connection, most: int, now_ms: int, *, room: Room, worker: str = ""
) -> list[ClaimedDelivery]:
    """Take up to `most` deliveries that are due for a worker, with what their receivers may look at.

    Those of a receiver that has no room wait, and nobody else's wait behind them. One receiver hears of one task's
    events in their order: the next one is due when the one before it is done, or dead.
    """
    taken: list[Delivery] = []
    of_receiver: Counter[str] = Counter()
    full: list[str] = []
    while len(taken) < most:
        due = DUE(connection, now_ms=now_ms, most=most - len(taken), full=full).all()
        chosen: list[Delivery] = []
        for row in due:
            if of_receiver[row.receiver] < room(row.receiver):
                of_receiver[row.receiver] += 1
                chosen.append(_running(row, now_ms))
            elif row.receiver not in full:
                full.append(row.receiver)
        if chosen:
            _claim(connection, ids=[one.id for one in chosen], by=worker, now_ms=now_ms)
            taken += chosen
        if len(chosen) == len(due):
            break
    return _with_context(connection, taken) if taken else []


def _running(row: Row[Any], now_ms: int) -> Delivery:
    values = dict(row._mapping)
    return Delivery(
        **values | {"state": "running", "attempts": values["attempts"] + 1, "updated_at_ms": now_ms}
    )


def columns_of(table: Table, record: type[msgspec.Struct]) -> list[ColumnElement[Any]]:
    """A record's columns, named so that those of several tables fit into one row."""
    return [table.c[name].label(f"{table.name}_{name}") for name in record.__struct_fields__]


_task, _event, _submission = schema.tasks, schema.events, schema.submissions
_context = Prepared(
    select(
        deliveries.c.id,
        *columns_of(_event, Event),
        *columns_of(_task, TaskRow),
        *columns_of(schema.chains, ChainRow),
        *columns_of(_submission, Submission),
    )
    .select_from(
        deliveries.join(_event, _event.c.id == deliveries.c.event_id)
        .outerjoin(_task, and_(_task.c.upstream == _event.c.upstream, _task.c.id == _event.c.task_id))
        .outerjoin(
            _submission,
            _submission.c.id == func.coalesce(func.nullif(_event.c.submission_id, ""), _task.c.submission_id),
        )
        .outerjoin(
            schema.chains, schema.chains.c.id == func.coalesce(_task.c.chain_id, _submission.c.chain_id)
        )
    )
    .where(deliveries.c.id.in_(bindparam("ids", expanding=True)))
)


def _with_context(connection: Connection, taken: list[Delivery]) -> list[ClaimedDelivery]:
    """What each receiver may look at, asked for in one question."""
    found = _context(connection, ids=[delivery.id for delivery in taken])
    rows = {row.id: row._mapping for row in found}
    return [_claimed(connection, delivery, rows[delivery.id]) for delivery in taken]


def _claimed(connection: Connection, delivery: Delivery, row: RowMapping) -> ClaimedDelivery:
    event = Event(**part_of(row, _event, Event))
    task = TaskRow(**part_of(row, _task, TaskRow)) if row["tasks_id"] is not None else None
    chain = ChainRow(**part_of(row, schema.chains, ChainRow)) if row["chains_id"] is not None else None
    submission = None
    if row["submissions_id"] is not None:
        submission = submissions.record_of(part_of(row, _submission, Submission))
    return ClaimedDelivery(
        delivery=delivery,
        event=event,
        task=task,
        chain=chain,
        submission=submission,
        latest=event.payload
        if event.advanced
        else events.latest_payload(connection, event.upstream, event.task_id),
        parent=_payload_of_parent(connection, event, task),
    )


def part_of(row: RowMapping, table: Table, record: type[msgspec.Struct]) -> dict[str, Any]:
    """The values of one record in a row of `columns_of`."""
    return {name: row[f"{table.name}_{name}"] for name in record.__struct_fields__}


def _payload_of_parent(connection: Connection, event: Event, task: TaskRow | None) -> bytes:
    """Only a modal's prompt falls back to the parent's, and the parent's payload is large."""
    if event.signal != "submission.needs_modal" or task is None:
        return b""
    return events.latest_payload(connection, event.upstream, task.parent_id)
