"""How the runs of deliveries end: done, to be tried again, dead. What becomes of dead ones: storage/retries.py.

Finishing matches the attempt number: the slower of two workers that ran the same delivery changes nothing, and what
it staged is dropped with it.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, and_, bindparam, select, update

from storage import firings, schema, staging
from storage.errors import LeaseLost
from storage.firings import Limit, Subject
from storage.prepared import Prepared
from storage.records import ClaimedDelivery, DeliveryState, Staged
from storage.refute import Refutation, put_back

deliveries = schema.deliveries


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    """How a run of a receiver ended. `run_at_ms` counts for "waiting", the state of one to be tried again.

    `excused`: the attempt does not count. `refuted`: the callback behind the event was contradicted. `fired`, and
    `limit`, how often that may be: one too many stages nothing.
    """

    state: DeliveryState
    decision: str = ""
    error: str = ""
    run_at_ms: int = 0
    staged: tuple[Staged, ...] = ()
    refuted: Refutation | None = None
    excused: bool = False
    fired: bool = False
    limit: Limit | None = None


_finish = Prepared(
    update(deliveries)
    .where(
        and_(
            deliveries.c.id == bindparam("delivery_id"),
            deliveries.c.state == "running",
            deliveries.c.attempts == bindparam("attempt"),
        )
    )
    .values(
        state=bindparam("new_state"),
        excused=deliveries.c.excused + bindparam("more_excused"),
        fired=bindparam("has_fired"),
        decision=bindparam("new_decision"),
        error=bindparam("new_error"),
        run_at_ms=bindparam("new_run_at_ms"),
        updated_at_ms=bindparam("now_ms"),
    )
)


_next_in_lane = Prepared(
    select(deliveries.c.id)
    .where(
        deliveries.c.receiver == bindparam("of_receiver"),
        deliveries.c.lane == bindparam("in_lane"),
        deliveries.c.state == "waiting",
    )
    .limit(1)
)


def finish(
    connection: Connection,
    claimed: ClaimedDelivery,
    ending: Finish,
    *,
    refuse: staging.Refuse,
    now_ms: int,
) -> bool:
    """End a run: its outcome and all that its receiver asked for, together. Raises `LeaseLost`.

    Tells whether another delivery has waited for this one.
    """
    delivery = claimed.delivery
    if ending.fired and ending.limit is not None:
        ending = _limited(connection, claimed, ending, ending.limit)
    finished = _finish(
        connection,
        delivery_id=delivery.id,
        attempt=delivery.attempts,
        new_state=ending.state,
        more_excused=int(ending.excused),
        has_fired=ending.fired,
        new_decision=ending.decision,
        new_error=ending.error,
        new_run_at_ms=ending.run_at_ms or delivery.run_at_ms,
        now_ms=now_ms,
    )
    if finished.rowcount != 1:
        raise LeaseLost(f"delivery {delivery.id}, attempt {delivery.attempts}")
    if ending.refuted is not None:
        put_back(connection, claimed.event, ending.refuted, now_ms)
    for staged in ending.staged:
        staging.stage(connection, staged, refuse=refuse, now_ms=now_ms)
    if not delivery.lane:
        return False
    return _next_in_lane(connection, of_receiver=delivery.receiver, in_lane=delivery.lane).first() is not None


def _limited(connection: Connection, claimed: ClaimedDelivery, ending: Finish, limit: Limit) -> Finish:
    """The ending, or that of a receiver that has fired often enough by now."""
    if reason := firings.fire(connection, claimed.delivery.receiver, limit, subject_of(claimed)):
        return msgspec.structs.replace(ending, decision=reason, staged=(), fired=False)
    return ending


def subject_of(claimed: ClaimedDelivery) -> Subject:
    """What the receiver of a delivery fires for."""
    return Subject(
        upstream=claimed.event.upstream,
        task_id=claimed.event.task_id,
        chain_id=claimed.chain.id if claimed.chain is not None else "",
    )
