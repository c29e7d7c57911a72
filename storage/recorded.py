"""Recorded events with all that a receiver could look at, for rules that are tried on what has been."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import Connection, and_, bindparam, func, select

from storage import schema, submissions
from storage.deliveries import columns_of, part_of
from storage.prepared import Prepared
from storage.records import ChainRow, ClaimedDelivery, Delivery, Event, Submission, TaskRow

_event, _task, _submission, _chain = schema.events, schema.tasks, schema.submissions, schema.chains
_parent = schema.events.alias("parent")

A_PAGE = 1000

_page = Prepared(
    select(
        *columns_of(_event, Event),
        *columns_of(_task, TaskRow),
        *columns_of(_chain, ChainRow),
        *columns_of(_submission, Submission),
        select(_parent.c.payload)
        .where(
            _event.c.signal == "submission.needs_modal",
            _parent.c.upstream == _task.c.upstream,
            _parent.c.task_id == _task.c.parent_id,
            _parent.c.advanced,
        )
        .order_by(_parent.c.id.desc())
        .limit(1)
        .scalar_subquery()
        .label("parent_payload"),
    )
    .select_from(
        _event.outerjoin(_task, and_(_task.c.upstream == _event.c.upstream, _task.c.id == _event.c.task_id))
        .outerjoin(
            _submission,
            _submission.c.id == func.coalesce(func.nullif(_event.c.submission_id, ""), _task.c.submission_id),
        )
        .outerjoin(_chain, _chain.c.id == func.coalesce(_task.c.chain_id, _submission.c.chain_id))
    )
    .where(
        _event.c.id > bindparam("after"),
        _event.c.received_at_ms >= bindparam("since_ms"),
        _event.c.signal.in_(bindparam("signals", expanding=True)),
        _event.c.source != "replay",
    )
    .order_by(_event.c.id)
    .limit(bindparam("most"))
)


def recorded(connection: Connection, signals: Iterable[str], since_ms: int) -> Iterator[ClaimedDelivery]:
    """Every event that gave one of these signals, oldest first, as a delivery that was never made.

    Tasks and chains are as they are now, not as they were then; an event's own payload is as it came.
    """
    after, wanted = 0, list(signals)
    while True:
        rows = _page(connection, after=after, since_ms=since_ms, signals=wanted, most=A_PAGE).all()
        for row in rows:
            found = row._mapping
            event = Event(**part_of(found, _event, Event) | {"advanced": bool(found["events_advanced"])})
            yield ClaimedDelivery(
                delivery=_delivery(event),
                event=event,
                task=TaskRow(**part_of(found, _task, TaskRow)) if found["tasks_id"] is not None else None,
                chain=ChainRow(**part_of(found, _chain, ChainRow))
                if found["chains_id"] is not None
                else None,
                submission=submissions.record_of(part_of(found, _submission, Submission))
                if found["submissions_id"] is not None
                else None,
                latest=event.payload if event.advanced else b"",
                parent=found["parent_payload"] or b"",
            )
        if len(rows) < A_PAGE:
            return
        after = rows[-1]._mapping["events_id"]


def _delivery(event: Event) -> Delivery:
    return Delivery(
        id=0,
        event_id=event.id,
        receiver="",
        lane="",
        state="running",
        attempts=1,
        excused=0,
        run_at_ms=0,
        fired=False,
        decision="",
        error="",
        created_at_ms=event.received_at_ms,
        updated_at_ms=event.received_at_ms,
    )
