"""Recorded events with the context for receivers, to try rules on past events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from sqlalchemy import Connection

from storage.deliveries import delivery_queue
from storage.deliveries.sql import CONTEXTS
from storage.events import event_log
from storage.joins import members
from storage.reading.sql_history import NEWEST_ID, RECEIVED_AFTER, RECORDED
from storage.records import ClaimedDelivery, Delivery, Event

A_PAGE = 1000

SET_BACK_MS = 24 * 3_600_000
"""How far a clock may have been set back without an event being missed: ids grow with time, except where a clock was set back."""


def recorded(connection: Connection, signals: Iterable[str], since_ms: int) -> Iterator[ClaimedDelivery]:
    """Every event that gave one of these signals, oldest first, as a claimed delivery that does not exist in the database.

    Tasks and chains are in their present state, not in that of the time; an event's own payload is as received.
    """
    after, wanted = _before(connection, since_ms), list(signals)
    while True:
        rows = RECORDED.all(connection, after=after, since_ms=since_ms, signals=wanted, most=A_PAGE)
        for row in rows:
            event = row.event
            yield ClaimedDelivery(
                delivery=_delivery(event),
                event=event,
                task=row.task,
                chain=row.chain,
                submission=row.submission,
                latest=event.payload
                if event.advanced
                else event_log.latest(connection, event.upstream, event.task_id)[0],
                parent=row.parent or b"",
                members=members.of_join(connection, event.signal, row.chain),
            )
        if len(rows) < A_PAGE:
            return
        after = rows[-1].event.id


def again(connection: Connection, event_id: int, receiver: str) -> ClaimedDelivery | None:
    """An event as one of its receivers would get it now, with its task and chain as they are; None if it is no longer kept."""
    context = CONTEXTS.first(connection, event_ids=[event_id])
    if context is None:
        return None
    payloads = delivery_queue.payloads_of(connection, context)
    return ClaimedDelivery(
        delivery=msgspec.structs.replace(_delivery(context.event), receiver=receiver),
        event=context.event,
        task=context.task,
        chain=context.chain,
        submission=context.submission,
        latest=payloads.latest,
        parent=payloads.parent,
    )


def _before(connection: Connection, since_ms: int) -> int:
    """An id before all events since then, found by halving: a search through all older events would read most of the table."""
    before, after = 0, NEWEST_ID.first(connection) or 0
    while after - before > A_PAGE:
        middle = (before + after) // 2
        received_at_ms = RECEIVED_AFTER.first(connection, id=middle)
        if received_at_ms is not None and received_at_ms < since_ms - SET_BACK_MS:
            before = middle
        else:
            after = middle
    return before


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
