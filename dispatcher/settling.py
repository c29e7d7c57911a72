"""The transaction after a request: the settlement, the tasks it made, and the effects on the upstream's other submissions."""

from __future__ import annotations

from collections.abc import Callable

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
from storage.records import Staged, Submission
from storage.submissions import modals, settlements, staging
from storage.submissions.settlements import Settlement
from storage.upstreams import pausing, standings

log = structlog.get_logger("hookchain")


def settlement_unit(
    submission: Submission, request: Request, settlement: Settlement, now_ms: int
) -> Callable[[Connection], int]:
    """The unit that writes a settlement. It returns when to submit again (epoch ms), 0 for never."""
    lost_modal = queue_full.deleted_modal(request, settlement)

    def settle(connection: Connection) -> int:
        run_at_ms = settlement.run_at_ms if settlement.state == "waiting" else 0
        if lost_modal:
            run_at_ms = modals.repeat_action(
                connection,
                submission,
                settlement,
                now_ms,
                delay_ms=queue_full.repeat_delay_ms,
                most=queue_full.ATTEMPTS,
            )
        else:
            settlements.settle_attempt(connection, submission, settlement, now_ms)
        if settlement.state == "needs_modal":
            _repeat_answer(connection, submission, settlement, now_ms)
        _update_standing(connection, submission.upstream, settlement, now_ms)
        pausing.on_refusal(connection, submission, settlement, now_ms)
        return run_at_ms

    return settle


def _update_standing(connection: Connection, name: str, settlement: Settlement, now_ms: int) -> None:
    """Update the breaker and the pauses of the upstream after an answer or its absence."""
    if settlement.outcome == "invalid":
        return  # not sent, so it says nothing about the upstream
    if settlement.outcome in ("not_sent", Outcome.UNCERTAIN):
        standing = upstream_limits.failed(standings.held(connection, name), now_ms)
        standings.save(connection, standing)
        if standing.open_ms:
            log.warning("breaker open", upstream=name, for_ms=standing.open_ms, why=settlement.reason)
        return
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
    )
    staging.stage(connection, staged, refuse=lambda _use, _staged: "", now_ms=now_ms)
