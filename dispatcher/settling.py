"""The transaction after requests: their settlements, the tasks that they made, and the effects on the upstream's other submissions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
import structlog

from dispatcher.policy import queue_full, upstream_limits
from dispatcher.policy.intent import key_of
from midjourney.codes import Outcome
from midjourney.requests import (
    Request,
    decode_request,
    encode_request,
)
from storage.engine import Connection
from storage.errors import LeaseLost
from storage.records import MOVED, Staged, Submission
from storage.submissions import modals, settlements, staging, submission_queue
from storage.submissions.settlements import Answered, Settlement
from storage.upstreams import pausing, standings

log = structlog.get_logger("hookchain")


class Sent(msgspec.Struct, frozen=True):
    """A request that was sent, and the settlement of its attempt at a time."""

    submission: Submission
    request: Request
    settlement: Settlement
    now_ms: int


class Elsewhere(Protocol):
    """Moves orders to other accounts."""

    def target(self, connection: Connection, sent: Sent) -> str:
        """The account that does an order instead; "" if it stays where it is."""
        ...

    def move(self, connection: Connection, submission: Submission, to: str, now_ms: int) -> None:
        """Stage an order at another account; its submission here has ended."""
        ...


def settle_all(
    connection: Connection, sent: Sequence[Sent], elsewhere: Elsewhere | None = None
) -> list[int | LeaseLost]:
    """Write settlements; `elsewhere` may move an order to another account. Like `_settle_all`."""
    if elsewhere is None:
        return _settle_all(connection, sent)
    targets = [elsewhere.target(connection, one) for one in sent]
    results = _settle_all(
        connection, [_moved(one, to) if to else one for one, to in zip(sent, targets, strict=True)]
    )
    for one, to, result in zip(sent, targets, results, strict=True):
        if (
            to
            and not isinstance(result, LeaseLost)
            and submission_queue.is_moved(connection, one.submission.id)
        ):
            _update_standing(connection, one, set(), one.now_ms)
            pausing.on_refusal(connection, one.submission, one.settlement, one.now_ms)
            elsewhere.move(connection, one.submission, to, one.now_ms)
    return results


def _moved(sent: Sent, to: str) -> Sent:
    settlement = msgspec.structs.replace(
        sent.settlement,
        state="rejected",
        outcome=MOVED,
        reason=f"{sent.settlement.reason}; {to} does it instead",
        signal=None,
        task_ids=(),
        run_at_ms=0,
    )
    return msgspec.structs.replace(sent, settlement=settlement)


def _settle_all(connection: Connection, sent: Sequence[Sent]) -> list[int | LeaseLost]:
    """Write settlements; returns for each when to submit again (epoch ms), 0 for never. Raises `LeaseLost` as `settlements.settle_all`."""
    now_ms = max(one.now_ms for one in sent)
    together = [one for one in sent if not queue_full.deleted_modal(one.request, one.settlement)]
    answered = [Answered(one.submission, one.settlement) for one in together]
    lost = {
        id(one): why
        for one, why in zip(together, settlements.settle_all(connection, answered, now_ms), strict=True)
        if why is not None
    }
    answering: set[str] = set()
    results: list[int | LeaseLost] = []
    for one in sent:
        if why := lost.get(id(one)):
            results.append(why)
            continue
        results.append(_follow(connection, one, now_ms))
        if one.settlement.outcome == MOVED:
            continue
        _update_standing(connection, one, answering, now_ms)
        pausing.on_refusal(connection, one.submission, one.settlement, now_ms)
    return results


def _follow(connection: Connection, sent: Sent, now_ms: int) -> int:
    """Do what a settlement means for other submissions. Returns when to submit again, 0 for never."""
    submission, settlement = sent.submission, sent.settlement
    if queue_full.deleted_modal(sent.request, settlement):
        return modals.repeat_action(
            connection,
            submission,
            settlement,
            now_ms,
            delay_ms=queue_full.repeat_delay_ms,
            most=queue_full.ATTEMPTS,
        )
    if settlement.state == "needs_modal":
        _repeat_answer(connection, submission, settlement, now_ms)
    return settlement.run_at_ms if settlement.state == "waiting" else 0


def _update_standing(connection: Connection, sent: Sent, answering: set[str], now_ms: int) -> None:
    """Update the breaker and the pauses of the upstream after an answer or its absence. `answering`: the upstreams whose last answer
    in this transaction was usable."""
    name, settlement = sent.submission.upstream, sent.settlement
    if settlement.outcome in ("invalid", "vetoed", "held_back"):
        return  # not sent, so it says nothing about the upstream
    if settlement.outcome in ("not_sent", Outcome.UNCERTAIN):
        answering.discard(name)
        standing = upstream_limits.failed(standings.held(connection, name), now_ms)
        standings.save(connection, standing)
        if standing.open_ms:
            log.warning("breaker open", upstream=name, for_ms=standing.open_ms, why=settlement.reason)
        return
    if name not in answering:
        answering.add(name)
        if standings.answered(connection, name):
            log.info("upstream answers again", upstream=name)
    if queue_full.is_queue_full(settlement):
        standing = standings.held(connection, name)
        standings.save(connection, upstream_limits.held(standing, now_ms, queue_full.hold_ms(settlement)))


def _repeat_answer(connection: Connection, action: Submission, settlement: Settlement, now_ms: int) -> None:
    """Answer a modal that was opened again as the first one was answered, unless it already has an answer."""
    lost = modals.lost_answer(connection, action)
    if lost is None:
        return
    request = msgspec.structs.replace(decode_request(lost.request), task_id=settlement.task_ids[0])
    staged = Staged(
        idempotency_key=key_of(lost.upstream, request),
        chain_id=lost.chain_id,
        upstream=lost.upstream,
        kind=lost.kind,
        label=lost.label,
        request=encode_request(request),
        parent_id=settlement.task_ids[0],
        depth=lost.depth,
        asked_by=lost.asked_by,
        mode=lost.mode,
        follows=submission_queue.follows(connection, lost.id),
    )
    staging.stage(connection, staged, refuse=lambda _use, _staged: "", now_ms=now_ms)
