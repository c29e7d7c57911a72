"""The queue of deliveries: the fan-out creates one for each receiver of an event, and workers claim them. endings.py ends them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from storage.deliveries import sql
from storage.deliveries.running_alone import EMPTY, Choice, Floor, Room
from storage.driver import locks
from storage.duty import protocol
from storage.duty.duties import DELIVERIES
from storage.duty.states import DELIVERY
from storage.events import event_log
from storage.joins import looking, members
from storage.records import ChainMember, ClaimedDelivery, Delivery, Event, PendingEvent
from storage.tasks import chains
from storage.tasks.chains import Orphan

Route = Callable[[PendingEvent], Sequence[str]]
"""Returns the names of an event's receivers."""

Listen = Callable[[Connection, Sequence[PendingEvent], int], Route]
"""Looks at the events that are fanned out, at a time, and returns their route."""


def fan_out(
    connection: Connection,
    route: Route,
    most: int,
    now_ms: int,
    *,
    listen: Listen | None = None,
    joins: Collection[str] = (),
) -> int:
    """Create one delivery for each receiver of the oldest pending events; returns the number of events.

    A task with a delivery gets a chain here, because its receivers use it. `listen` may find another route for these events. For the
    `joins` that have receivers, it marks what may have come to rest.
    """
    # One fan-out at a time, so that a receiver's deliveries are created in the order of their events.
    if not locks.turn(connection, "fan_out"):
        return 0
    waiting = event_log.pending(connection, most)
    if listen is not None and waiting:
        route = listen(connection, waiting, now_ms)
    routes = {event.id: route(event) for event in waiting}
    orphans = [
        Orphan(event.upstream, event.task_id, event.parent_id)
        for event in waiting
        if routes[event.id] and event.chain_id is None and event.parent_id is not None
    ]
    if orphans:
        chains.adopt_all(connection, orphans, now_ms)
    rows: list[dict[str, object]] = []
    state = DELIVERY.new("fan_out", "waiting")
    for event in waiting:
        lane = f"{event.upstream}|{event.task_id}" if event.task_id else ""
        new = {"event_id": event.id, "lane": lane, "state": state, "now_ms": now_ms}
        rows += [new | {"receiver": receiver} for receiver in routes[event.id]]
    if rows:
        sql.ADD_DELIVERY.all_at_once(connection, rows)
    if waiting:
        event_log.mark_fanned_out(connection, [event.id for event in waiting])
    looking.mark(connection, [event.id for event in waiting], joins, now_ms)
    return len(waiting)


def add(connection: Connection, event_id: int, receiver: str, now_ms: int) -> None:
    """Create a delivery of an event to one more receiver, unless it has one."""
    state = DELIVERY.new("fan_out", "waiting")
    row = {"event_id": event_id, "receiver": receiver, "lane": "", "state": state, "now_ms": now_ms}
    sql.ADD_DELIVERY.all_at_once(connection, [row])


def claim(
    connection: Connection, most: int, now_ms: int, *, room: Room, worker: str = "", floor: Floor = EMPTY
) -> list[ClaimedDelivery]:
    """Claim up to `most` due deliveries for a worker, with the context for their receivers.

    Deliveries of a receiver that has no room wait, and block no others. A receiver gets the events of a task in order: the next
    one is due when the one before it is done or dead.
    """
    taken: list[Delivery] = []
    full: list[str] = []
    choice = Choice(room, floor)
    while len(taken) < most:
        due = sql.DUE.all(connection, now_ms=now_ms, most=most - len(taken), full=full)
        chosen = []
        for waiting in due:
            delivery = _running(waiting, now_ms, is_harmless=floor.harmless(waiting.receiver))
            if choice.takes(delivery):
                chosen.append(delivery)
            elif delivery.receiver not in full:
                full.append(delivery.receiver)
        for alone in (False, True):
            if ids := [delivery.id for delivery in chosen if delivery.suspected is alone]:
                protocol.claim(connection, DELIVERIES, ids, worker=worker, now_ms=now_ms, suspected=alone)
        taken += chosen
        if len(chosen) == len(due):
            break
    return _with_context(connection, taken) if taken else []


def _running(delivery: Delivery, now_ms: int, *, is_harmless: bool) -> Delivery:
    return msgspec.structs.replace(
        delivery,
        state="running",
        attempts=delivery.attempts + 1,
        updated_at_ms=now_ms,
        suspected=delivery.suspected and not is_harmless,
    )


class _Payloads(NamedTuple):
    """The payloads of an event's task and of its parent, and True for each that only a callback vouches for. For a join, also what its
    chain consists of."""

    latest: bytes
    parent: bytes
    is_unverified: bool
    is_parent_unverified: bool
    members: tuple[ChainMember, ...]


def _with_context(connection: Connection, taken: list[Delivery]) -> list[ClaimedDelivery]:
    """The deliveries with their receivers' context, which is read once for each event."""
    event_ids = sorted({delivery.event_id for delivery in taken})
    contexts = {
        context.event.id: (context, payloads_of(connection, context))
        for context in sql.CONTEXTS.all(connection, event_ids=event_ids)
    }
    return [_claimed(connection, delivery, *contexts[delivery.event_id]) for delivery in taken]


def _claimed(
    connection: Connection, delivery: Delivery, context: sql.Context, payloads: _Payloads
) -> ClaimedDelivery:
    return ClaimedDelivery(
        delivery=delivery,
        event=context.event,
        task=context.task,
        chain=context.chain,
        submission=context.submission,
        latest=payloads.latest,
        parent=payloads.parent,
        is_unverified=payloads.is_unverified,
        is_parent_unverified=payloads.is_parent_unverified,
        has_acted=_has_acted(connection, delivery, context.event),
        follows=context.follows,
        members=payloads.members,
        store_version=context.store_version,
    )


def payloads_of(connection: Connection, context: sql.Context) -> _Payloads:
    """The payloads that the receivers of an event get."""
    event, task = context.event, context.task
    latest, is_fact = event_log.latest(connection, event.upstream, event.task_id)
    parent, is_parent_fact = b"", False
    # Only for modals, whose prompt may fall back to the parent's, because the payload is large.
    if event.signal == "submission.needs_modal" and task is not None:
        parent, is_parent_fact = event_log.latest(connection, event.upstream, task.parent_id)
    return _Payloads(
        latest=latest,
        parent=parent,
        is_unverified=event.provenance == "callback" or (latest != b"" and not is_fact),
        is_parent_unverified=parent != b"" and not is_parent_fact,
        members=members.of_join(connection, event.signal, context.chain),
    )


def _has_acted(connection: Connection, delivery: Delivery, event: Event) -> bool:
    """True if the receiver acted on an earlier event with the same signal, or failed at it for good: a SUCCESS gives its signal
    again when its buttons arrive later, or when the callback that first reported it is refuted.

    Only known now: when the event was fanned out, the delivery before it in the lane may still have been running."""
    if event.source != "reconcile" or event.signal != "task.succeeded":
        return False
    before = sql.ACTED_BEFORE.first(
        connection,
        upstream=event.upstream,
        task_id=event.task_id,
        signal=event.signal,
        event_id=event.id,
        receiver=delivery.receiver,
    )
    return before is not None
