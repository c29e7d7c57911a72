"""What follows from how a try ended. Pure: a result and the time in, the next state out."""

from __future__ import annotations

from dispatcher.backoff import delay_s, jittered_ms
from midjourney.buttons import Button, action_of
from midjourney.codes import Outcome, Refusal, Verdict
from midjourney.requests import (
    Action,
    Blend,
    Change,
    Describe,
    Edit,
    Imagine,
    Request,
    Shorten,
    SimpleChange,
    Swap,
    Video,
    as_change,
)
from midjourney.types import Status
from storage.records import Submission, SubmissionState
from storage.settlements import Settlement

QUEUE_FULL_CEILING_S = 60.0
"""A full queue empties in the time of a picture, about a minute; waiting longer only loses the place."""

QUEUE_FULL_ATTEMPTS = 200
"""About three hours of asking a full queue, then a dead letter."""

STALE_PARENT_ATTEMPTS = 4
"""Codes 3 and 4 right after SUCCESS pass within seconds (novicezk issue 252): 1, 2 and 4 s are given to it."""

NOT_SENT_ATTEMPTS = 12
"""An upstream that cannot be reached is tried for about three hours, then its submissions are dead letters."""

_STATES: dict[Outcome, SubmissionState] = {
    Outcome.ACCEPTED: "accepted",
    Outcome.QUEUED: "accepted",
    Outcome.NEEDS_MODAL: "needs_modal",
    Outcome.EXISTED: "existed",
    Outcome.UNCERTAIN: "uncertain",
}


def after_answer(
    submission: Submission,
    verdict: Verdict,
    *,
    told: str,
    http_status: int,
    body: bytes,
    action: str,
    now_ms: int,
    luck: float,
) -> Settlement:
    """What an upstream's answer makes of a submission.

    `told` is the story of it for people, `action` that of the task it makes, `luck` from 0 to 1 for jitter.
    """
    if verdict.outcome is Outcome.REJECTED:
        state, run_at_ms = _after_refusal(submission, verdict, now_ms, luck)
        signal = {"waiting": None, "dead": "submission.dead"}.get(state, "submission.rejected")
    else:
        state, run_at_ms = _STATES[verdict.outcome], 0
        signal = f"submission.{verdict.outcome}"
    return Settlement(
        state=state,
        outcome=verdict.outcome if verdict.refusal is None else f"{verdict.outcome}:{verdict.refusal}",
        reason=told,
        task_ids=_made(submission, verdict),
        signal=signal,
        run_at_ms=run_at_ms,
        http_status=http_status,
        answer=body,
        child_status=_status_of_child(verdict),
        child_action=action,
        retry_after_s=verdict.retry_after_s,
    )


def queue_full_delay_ms(attempts: int) -> int:
    """How long to wait after meeting a full queue for the `attempts`th time."""
    return int(1000 * delay_s(attempts, ceiling_s=QUEUE_FULL_CEILING_S))


def _status_of_child(verdict: Verdict) -> str:
    """What an answer tells of the task it speaks of: that a window waits. An end is told by the task itself alone."""
    return Status.MODAL if verdict.outcome is Outcome.NEEDS_MODAL else ""


def _made(submission: Submission, verdict: Verdict) -> tuple[str, ...]:
    """The tasks an answer speaks of, without the one that was pressed: trueai answers a BOOKMARK with its id."""
    if verdict.outcome not in _STATES or submission.kind == "cancel":
        return ()
    if submission.kind == "modal":
        return verdict.ids
    return tuple(task_id for task_id in verdict.ids if task_id != submission.parent_id)


def _after_refusal(
    submission: Submission, verdict: Verdict, now_ms: int, luck: float
) -> tuple[SubmissionState, int]:
    match verdict.refusal:
        case Refusal.QUEUE_FULL if submission.tries < QUEUE_FULL_ATTEMPTS:
            wait_s = verdict.retry_after_s or delay_s(submission.tries, ceiling_s=QUEUE_FULL_CEILING_S)
            return "waiting", now_ms + jittered_ms(wait_s, luck=luck)
        case Refusal.STALE_PARENT if submission.tries < STALE_PARENT_ATTEMPTS:
            return "waiting", now_ms + jittered_ms(delay_s(submission.tries, first_s=1.0), luck=luck)
        case Refusal.QUEUE_FULL | Refusal.AUTH:
            return "dead", 0
        case _:
            return "rejected", 0


def after_invalid(reason: str) -> Settlement:
    """A request that no upstream of its dialect takes: it was not sent."""
    return Settlement(state="rejected", outcome="invalid", reason=reason, signal="submission.rejected")


def after_not_sent(submission: Submission, reason: str, *, now_ms: int, luck: float) -> Settlement:
    """The upstream cannot have seen the request: it is safe to send it again, later."""
    if submission.tries >= NOT_SENT_ATTEMPTS:
        return Settlement(state="dead", outcome="not_sent", reason=reason, signal="submission.dead")
    wait_ms = jittered_ms(delay_s(submission.tries), luck=luck)
    return Settlement(state="waiting", outcome="not_sent", reason=reason, run_at_ms=now_ms + wait_ms)


def after_silence(reason: str) -> Settlement:
    """The upstream may have seen the request: only evidence may decide what is next."""
    return Settlement(
        state="uncertain", outcome=Outcome.UNCERTAIN, reason=reason, signal="submission.uncertain"
    )


_ACTIONS: dict[type, str] = {
    Imagine: "IMAGINE",
    Blend: "BLEND",
    Describe: "DESCRIBE",
    Shorten: "SHORTEN",
    Swap: "SWAP_FACE",
    Edit: "EDIT",
    Video: "VIDEO",
}
"""As Plus and trueai name them."""


def action_made(request: Request) -> str:
    """The action of the task that a request makes, as Plus names it; "" where only its callback can tell."""
    match request:
        case Action():
            return action_of(Button(custom_id=request.custom_id).kind)
        case Change():
            return request.action
        case SimpleChange():
            return as_change(request).action
        case _:
            return _ACTIONS.get(type(request), "")
