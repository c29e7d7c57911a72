"""The transaction after a request: how its attempt ended, the tasks it made, and what all others who wait for the upstream
learn from it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import structlog

from dispatcher import limits
from dispatcher.intent import key_of
from dispatcher.limits import FULL_HOLD_MS
from dispatcher.outcomes import QUEUE_FULL_ATTEMPTS, queue_full_delay_ms
from midjourney.codes import Outcome, Refusal
from midjourney.requests import (
    Modal,
    Request,
    decode_request,
    encode_request,
)
from storage import settlements, staging, upstreams, windows
from storage.engine import Connection
from storage.records import Staged, Submission
from storage.settlements import Settlement

log = structlog.get_logger("hookchain")


def ended(
    submission: Submission, request: Request, settlement: Settlement, now_ms: int
) -> Callable[[Connection], int]:
    """The unit that writes down how a request ended. It returns when to submit again (epoch ms), 0 for not at all."""
    lost_window = isinstance(request, Modal) and _is_queue_full_23(settlement)

    def settle(connection: Connection) -> int:
        run_at_ms = settlement.run_at_ms if settlement.state == "waiting" else 0
        if lost_window:
            run_at_ms = windows.repeat_action(
                connection,
                submission,
                settlement,
                now_ms,
                delay_ms=queue_full_delay_ms,
                most=QUEUE_FULL_ATTEMPTS,
            )
        else:
            settlements.settle_attempt(connection, submission, settlement, now_ms)
        if settlement.state == "needs_modal":
            _answer_again(connection, submission, settlement, now_ms)
        _tell(connection, submission.upstream, settlement, now_ms)
        return run_at_ms

    return settle


def _is_queue_full_23(settlement: Settlement) -> bool:
    """Plus 3.7.5 deletes the waiting MODAL task when its modal meets a full queue with code 23."""
    return settlement.outcome == f"{Outcome.REJECTED}:{Refusal.QUEUE_FULL}" and settlement.reason.startswith(
        "code 23"
    )


def _tell(connection: Connection, name: str, settlement: Settlement, now_ms: int) -> None:
    """What an answer, or none, means for everybody who waits for this upstream."""
    if settlement.outcome == "invalid":
        return  # nothing was sent, nothing was learned
    if settlement.outcome in ("not_sent", Outcome.UNCERTAIN):
        standing = limits.failed(upstreams.held(connection, name), now_ms)
        upstreams.save(connection, standing)
        if standing.open_ms:
            log.warning("breaker open", upstream=name, for_ms=standing.open_ms, why=settlement.reason)
        return
    if upstreams.answered(connection, name):
        log.info("upstream answers again", upstream=name)
    if settlement.outcome == f"{Outcome.REJECTED}:{Refusal.QUEUE_FULL}":
        asked_ms = 0 if settlement.retry_after_s is None else int(1000 * settlement.retry_after_s)
        standing = upstreams.held(connection, name)
        upstreams.save(connection, limits.held(standing, now_ms, asked_ms or FULL_HOLD_MS))


def _answer_again(connection: Connection, action: Submission, settlement: Settlement, now_ms: int) -> None:
    """A window that was opened again gets the answer that was lost with the first one, unless it has one already."""
    lost = windows.lost_answer(connection, action)
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
