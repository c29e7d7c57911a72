"""Ends the runs of deliveries: done, waiting for another try, or dead. storage/deliveries/dead_deliveries.py handles dead ones.

Finishing must match the attempt number: if two workers ran the same delivery, the slower one changes nothing, and its staged
submissions are dropped.
"""

from __future__ import annotations

from collections.abc import Container

import msgspec
from sqlalchemy import Connection

from storage.deliveries import firings, sql
from storage.deliveries.firings import Limit, Subject
from storage.duty import protocol
from storage.duty.duties import DELIVERIES
from storage.duty.held import Held
from storage.records import ALL_SIGNALS, ClaimedDelivery, DeliveryState, Staged
from storage.submissions import staging
from storage.tasks import believe, unverified
from storage.tasks.believe import TaskReport


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a run of a receiver ended. `run_at_ms` matters for the state "waiting", in which it is tried again.

    `excused`: the attempt does not count. `report`: the result of the readback of the event's task; `refuted`: why that refutes
    the event, or "". `fired`: the receiver fired; `limit`: how often it may. Beyond the limit nothing is staged.
    """

    state: DeliveryState
    decision: str = ""
    error: str = ""
    run_at_ms: int = 0
    staged: tuple[Staged, ...] = ()
    report: TaskReport | None = None
    refuted: str = ""
    excused: bool = False
    fired: bool = False
    limit: Limit | None = None


def end(
    connection: Connection,
    claimed: ClaimedDelivery,
    ending: Ended,
    *,
    refuse: staging.Refuse,
    wanted_signals: Container[str] = ALL_SIGNALS,
    now_ms: int,
) -> bool:
    """End a run: write its outcome, and stage all that its receiver requested, together. Raises `LeaseLost`.

    True if another delivery has waited for this one.
    """
    delivery = claimed.delivery
    if ending.fired and ending.limit is not None:
        ending = _limited(connection, claimed, ending, ending.limit)
    protocol.finish(
        connection,
        DELIVERIES,
        Held(delivery.id, delivery.attempts),
        by="end",
        to=ending.state,
        excused=ending.excused,
        run_at_ms=ending.run_at_ms or delivery.run_at_ms,
        now_ms=now_ms,
        suspected=delivery.suspected and ending.excused,  # a run that ended clears the suspicion
        deaths=delivery.deaths if ending.excused else 0,
        fired=ending.fired,
        decision=ending.decision,
        error=ending.error,
    )
    if ending.refuted:
        unverified.refute_event(connection, claimed.event, ending.refuted, now_ms)
    if ending.report is not None:
        believe.believe(connection, ending.report, wanted_signals, now_ms=now_ms)
    for staged in ending.staged:
        staging.stage(connection, staged, refuse=refuse, now_ms=now_ms)
    if not delivery.lane:
        return False
    following = sql.NEXT_IN_LANE.first(connection, receiver=delivery.receiver, lane=delivery.lane)
    return following is not None


def _limited(connection: Connection, claimed: ClaimedDelivery, ending: Ended, limit: Limit) -> Ended:
    """The ending, changed to one that stages nothing if the receiver has reached its limit."""
    if reason := firings.fire(connection, claimed.delivery.receiver, limit, subject_of(claimed)):
        return msgspec.structs.replace(ending, decision=reason, staged=(), fired=False)
    return ending


def subject_of(claimed: ClaimedDelivery) -> Subject:
    """The subject that the receiver of a delivery fires for."""
    return Subject(
        upstream=claimed.event.upstream,
        task_id=claimed.event.task_id,
        chain_id=claimed.chain.id if claimed.chain is not None else "",
    )
