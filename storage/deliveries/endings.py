"""Ends the runs of deliveries: done, waiting for another try, or dead. storage/deliveries/dead_deliveries.py handles dead ones.

Finishing must match the attempt number: if two workers ran the same delivery, the slower one changes nothing, and its staged
submissions are dropped. Runs that end at the same moment are ended with the same statements.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import islice
from typing import Literal

import msgspec
from sqlalchemy import Connection

from storage.deliveries import chain_stores, delivery_queue, firings, sql
from storage.deliveries.firings import Limit, Subject
from storage.driver import locks
from storage.duty import protocol
from storage.duty.duties import DELIVERIES
from storage.duty.held import Held
from storage.errors import LeaseLost
from storage.joins.follows import following
from storage.records import (
    ALL_SIGNALS,
    ApprovalTerms,
    ClaimedDelivery,
    Delivery,
    DeliveryState,
    Staged,
    StageResult,
    StoreChange,
)
from storage.submissions import approvals, replays, staging
from storage.tasks import believe, unverified
from storage.tasks.believe import TaskReport


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a run of a receiver ended. `run_at_ms` matters for the state "waiting", in which it is tried again.

    `excused`: the attempt does not count. `report`: the result of the readback of the event's task; `refuted`: why that refutes
    the event, or "". `fired`: the receiver fired; `limit`: how often it may. Beyond the limit nothing is staged. `terms`: what is staged is held until a person approves it.
    `store`: what the receiver leaves in the store of the chain; None if that is what it found there.
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
    terms: ApprovalTerms | None = None
    store: StoreChange | None = None


Result = bool | Literal["again"] | LeaseLost
"""What became of the end of a run: see `end_all`."""


class Run(msgspec.Struct, frozen=True):
    """A run that has ended, and the signals that have receivers."""

    claimed: ClaimedDelivery
    ending: Ended
    wanted_signals: Container[str] = ALL_SIGNALS


def end(
    connection: Connection,
    claimed: ClaimedDelivery,
    ending: Ended,
    *,
    refuse: staging.Refuse,
    wanted_signals: Container[str] = ALL_SIGNALS,
    now_ms: int,
) -> bool:
    """End one run. Raises `LeaseLost`; otherwise True if another delivery has waited for this one, or is new, or it is to be run again."""
    (result,) = end_all(connection, [Run(claimed, ending, wanted_signals)], refuse=refuse, now_ms=now_ms)
    if isinstance(result, LeaseLost):
        raise result
    return bool(result)


def end_all(
    connection: Connection, runs: Sequence[Run], *, refuse: staging.Refuse, now_ms: int
) -> list[Result]:
    """End runs: write their outcomes, and stage all that their receivers requested, together.

    For each run, True if another delivery has waited for it, or there is an event about what it requested; or `LeaseLost`, and then nothing is written for it; or "again", and then it
    waits to be run again, and nothing of what it staged is written. Raises `LeaseLost` if a firing was counted for a run without its lease, so that all must be rolled back.
    """
    if len({run.claimed.delivery.id for run in runs}) < len(runs):  # attempts at one delivery end one by one
        return [one for run in runs for one in end_all(connection, [run], refuse=refuse, now_ms=now_ms)]
    locks.deliveries(connection, [run.claimed.delivery.id for run in runs])
    again = _to_be_run_again(connection, runs, now_ms)
    runs = [
        again.get(run.claimed.delivery.id) or _limited(connection, _as_replay(connection, run))
        for run in runs
    ]
    ends = [_end_of(run.claimed.delivery, run.ending) for run in runs]
    ended = protocol.finish(connection, DELIVERIES, ends, by="end", now_ms=now_ms)
    current = [run for run in runs if run.claimed.delivery.id in ended]
    if len(current) < len(runs):
        _refuse_counted_firings(runs, ended)
    for run in current:
        if run.ending.refuted:
            unverified.refute_event(connection, run.claimed.event, run.ending.refuted, now_ms)
        if run.ending.report is not None:
            believe.believe(connection, run.ending.report, run.wanted_signals, now_ms=now_ms)
    changes = [run.ending.store for run in current if run.ending.store is not None]
    chain_stores.keep(connection, changes, now_ms)
    told = _stage(connection, current, refuse, now_ms)
    following = _following(connection, current)
    results: list[Result] = []
    for run, one in zip(runs, ends, strict=True):
        delivery = run.claimed.delivery
        if delivery.id not in ended:
            results.append(protocol.lost(DELIVERIES, one.held))
        elif delivery.id in again:
            results.append("again")
        else:
            results.append(_lane_of(run) in following or delivery.id in told)
    return results


def _to_be_run_again(connection: Connection, runs: Sequence[Run], now_ms: int) -> dict[int, Run]:
    """The runs whose chain's store another run has changed, by delivery, each with an ending that lets it be run again at once."""
    outdated = chain_stores.outdated(connection, [run.ending.store for run in runs])
    decision = "another run changed chain.store at the same moment, so this one is done again"
    return {
        run.claimed.delivery.id: msgspec.structs.replace(
            run,
            ending=Ended(
                state="waiting",
                excused=True,
                decision=decision,
                run_at_ms=now_ms,
                report=run.ending.report,
            ),
        )
        for run, is_late in zip(runs, outdated, strict=True)
        if is_late
    }


def _following_from(staged: Staged, claimed: ClaimedDelivery) -> Staged:
    """The request with the joins that it follows from."""
    follows = following(claimed.follows, claimed.event.signal)
    return msgspec.structs.replace(staged, follows=follows) if follows else staged


def _stage(connection: Connection, runs: Sequence[Run], refuse: staging.Refuse, now_ms: int) -> set[int]:
    """Stage what the receivers requested, and open approvals for what is held. Returns the deliveries whose approval is asked for, and
    those of which a budget refused something: there are events about both."""
    held = {
        run.claimed.delivery.id: approvals.new_id(now_ms)
        for run in runs
        if run.ending.terms is not None and run.ending.staged
    }
    marked = [_marked(run, held.get(run.claimed.delivery.id, "")) for run in runs]
    results = staging.stage_all(
        connection, [one for staged in marked for one in staged], refuse=refuse, now_ms=now_ms
    )
    owners = [run.claimed.delivery.id for run, staged in zip(runs, marked, strict=True) for _ in staged]
    refused = {owner for owner, result in zip(owners, results, strict=True) if result.refused}
    _note(connection, runs, owners, results)
    if not held:
        return refused
    return refused | _open_approvals(connection, runs, held, iter(results), now_ms)


def _note(
    connection: Connection, runs: Sequence[Run], owners: Sequence[int], results: Sequence[StageResult]
) -> None:
    """Add to decisions what somebody else had requested before."""
    notes: dict[int, list[str]] = {}
    for owner, result in zip(owners, results, strict=True):
        if result.note:
            notes.setdefault(owner, []).append(result.note)
    for run in runs if notes else ():
        if noted := notes.get(run.claimed.delivery.id):
            decision = "; ".join(filter(None, [run.ending.decision, *dict.fromkeys(noted)]))
            sql.DECIDE(connection, id=run.claimed.delivery.id, decision=decision)


def _marked(run: Run, approval_id: str) -> Sequence[Staged]:
    """The requests of a run, with the joins that they follow from, and the approval that holds them."""
    staged = [_following_from(one, run.claimed) for one in run.ending.staged]
    if not approval_id:
        return staged
    return [msgspec.structs.replace(one, approval_id=approval_id) for one in staged]


def _open_approvals(
    connection: Connection,
    runs: Sequence[Run],
    held: Mapping[int, str],
    results: Iterator[StageResult],
    now_ms: int,
) -> set[int]:
    """Open the approvals of runs of which anything is held: what their intents had already, and what a budget refused, is not."""
    opened, asking = [], set()
    for run in runs:
        of_run = list(islice(results, len(run.ending.staged)))
        terms, delivery = run.ending.terms, run.claimed.delivery
        new = next((result for result in of_run if result.created), None)
        if terms is None or new is None:
            continue
        opened.append(approvals.opened(held[delivery.id], run.claimed, terms, new.chain_id, now_ms))
        for suffix in terms.asks:
            delivery_queue.add(connection, delivery.event_id, f"{delivery.receiver}{suffix}", now_ms)
            asking.add(delivery.id)
    if opened:
        approvals.open_all(connection, opened)
    return asking


def _end_of(delivery: Delivery, ending: Ended) -> protocol.End:
    return protocol.End(
        held=Held(delivery.id, delivery.attempts),
        to=ending.state,
        excused=ending.excused,
        run_at_ms=ending.run_at_ms or delivery.run_at_ms,
        values={
            # A run that ended clears the suspicion.
            "suspected": delivery.suspected and ending.excused,
            "deaths": delivery.deaths if ending.excused else 0,
            "fired": ending.fired,
            "decision": ending.decision,
            "error": ending.error,
        },
    )


def _refuse_counted_firings(runs: Sequence[Run], ended: Container[int | str]) -> None:
    for run in runs:
        delivery = run.claimed.delivery
        if delivery.id not in ended and run.ending.limit is not None:
            raise protocol.lost(DELIVERIES, Held(delivery.id, delivery.attempts))


Lane = tuple[str, str]
"""A receiver, and the task whose events it gets in order."""


def _lane_of(run: Run) -> Lane:
    return run.claimed.delivery.receiver, run.claimed.delivery.lane


def _following(connection: Connection, runs: Sequence[Run]) -> set[Lane]:
    """The lanes of these runs in which another delivery waits."""
    lanes = {_lane_of(run) for run in runs if run.claimed.delivery.lane}
    if not lanes:
        return set()
    rows = [{"receiver": receiver, "lane": lane} for receiver, lane in sorted(lanes)]
    return {(row.receiver, row.lane) for row in sql.NEXT_IN_LANES.all_of_rows(connection, rows)}


def _as_replay(connection: Connection, run: Run) -> Run:
    """The run; if its event is a replay, with an ending that requests nothing a second time."""
    kept, note = replays.not_requested_before(connection, run.claimed.event, run.ending.staged)
    if not note:
        return run
    decision = "; ".join(part for part in (run.ending.decision, note) if part)
    return Run(
        run.claimed,
        msgspec.structs.replace(run.ending, staged=kept, decision=decision, fired=bool(kept)),
        run.wanted_signals,
    )


def _limited(connection: Connection, run: Run) -> Run:
    """The run; if its receiver has reached its limit, with an ending that stages nothing."""
    claimed, ending = run.claimed, run.ending
    if not ending.fired or ending.limit is None:
        return run
    if reason := firings.fire(connection, claimed.delivery.receiver, ending.limit, subject_of(claimed)):
        ending = msgspec.structs.replace(ending, decision=reason, staged=(), fired=False, store=None)
        return msgspec.structs.replace(run, ending=ending)
    return run


def subject_of(claimed: ClaimedDelivery) -> Subject:
    """The subject that the receiver of a delivery fires for."""
    return Subject(
        upstream=claimed.event.upstream,
        task_id=claimed.event.task_id,
        chain_id=claimed.chain.id if claimed.chain is not None else "",
    )
