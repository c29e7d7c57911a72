"""Settles a submission after its request has ended. Pure: the answer or error and the time in, the settlement out."""

from __future__ import annotations

from typing import Protocol

import msgspec

from dispatcher.policy import queue_full
from dispatcher.policy.backoff import delay_s, jittered_ms
from midjourney.buttons import Button, action_of
from midjourney.codes import Outcome, Refusal, Verdict
from midjourney.errors import InvalidRequest, NoAnswer, NotSent
from midjourney.requests import (
    Action,
    Blend,
    Change,
    Describe,
    Edit,
    Imagine,
    Request,
    Retexture,
    Shorten,
    Show,
    SimpleChange,
    Swap,
    Video,
    VideoSwap,
    as_change,
)
from midjourney.types import Status
from storage.errors import NotDurable
from storage.records import Submission, SubmissionState
from storage.submissions.settlements import Settlement

STALE_PARENT_ATTEMPTS = 4
"""Codes 3 and 4 right after SUCCESS go away within seconds (novicezk issue 252), so retries follow after 1, 2 and 4 s."""

NOT_SENT_ATTEMPTS = 12
"""If an upstream cannot be reached for about three hours, its submissions become dead letters."""

_STATES: dict[Outcome, SubmissionState] = {
    Outcome.ACCEPTED: "accepted",
    Outcome.QUEUED: "accepted",
    Outcome.NEEDS_MODAL: "needs_modal",
    Outcome.EXISTED: "existed",
    Outcome.UNCERTAIN: "uncertain",
}


class Answer(Protocol):
    """An upstream's answer to a submission."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def body(self) -> bytes:
        """The body, unchanged."""

    @property
    def verdict(self) -> Verdict:
        """What the answer means."""

    @property
    def message(self) -> str:
        """A complete description, for people."""


def settle(
    submission: Submission,
    request: Request,
    end: Answer | InvalidRequest | NotSent | NotDurable | NoAnswer,
    *,
    now_ms: int,
    luck: float,
) -> Settlement:
    """The settlement of an attempt whose request ended with this answer or error. `luck`, from 0 to 1, is for jitter."""
    match end:
        case InvalidRequest():
            return after_invalid(str(end))
        case NotSent() | NotDurable():
            return after_not_sent(submission, str(end), now_ms=now_ms, luck=luck)
        case NoAnswer():
            return after_silence(str(end))
        case _:
            return _after_answer(submission, request, end, now_ms=now_ms, luck=luck)


def _after_answer(
    submission: Submission, request: Request, answer: Answer, *, now_ms: int, luck: float
) -> Settlement:
    verdict = answer.verdict
    if verdict.outcome is Outcome.REJECTED:
        state, run_at_ms = _after_refusal(submission, verdict, now_ms, luck)
        signal = {"waiting": None, "dead": "submission.dead"}.get(state, "submission.rejected")
    else:
        state, run_at_ms = _STATES[verdict.outcome], 0
        signal = f"submission.{verdict.outcome}"
    return Settlement(
        state=state,
        outcome=verdict.outcome if verdict.refusal is None else f"{verdict.outcome}:{verdict.refusal}",
        reason=answer.message,
        task_ids=_tasks_of(submission, verdict),
        signal=signal,
        run_at_ms=run_at_ms,
        http_status=answer.status,
        code=None if verdict.answer is None else verdict.answer.code,
        answer=answer.body,
        child_status=_status_of_child(verdict),
        child_action=action_made(request),
        retry_after_s=verdict.retry_after_s,
    )


def _status_of_child(verdict: Verdict) -> str:
    """The status of the task that an answer names: a modal that needs an answer. Only the task itself reports its end."""
    return Status.MODAL if verdict.outcome is Outcome.NEEDS_MODAL else ""


def _tasks_of(submission: Submission, verdict: Verdict) -> tuple[str, ...]:
    """The tasks that an answer names, without the one that was pressed: trueai answers a BOOKMARK with its id."""
    if verdict.outcome not in _STATES or submission.kind == "cancel":
        return ()
    if submission.kind == "modal":
        return verdict.ids
    return tuple(task_id for task_id in verdict.ids if task_id != submission.parent_id)


def _after_refusal(
    submission: Submission, verdict: Verdict, now_ms: int, luck: float
) -> tuple[SubmissionState, int]:
    match verdict.refusal:
        case Refusal.QUEUE_FULL:
            return queue_full.after(submission.tries, verdict.retry_after_s, now_ms, luck)
        case Refusal.STALE_PARENT if submission.tries < STALE_PARENT_ATTEMPTS:
            return "waiting", now_ms + jittered_ms(delay_s(submission.tries, first_s=1.0), luck=luck)
        case Refusal.AUTH:
            return "dead", 0
        case _:
            return "rejected", 0


def after_invalid(reason: str) -> Settlement:
    """A request that its upstream's dialect cannot express: it was not sent."""
    return Settlement(state="rejected", outcome="invalid", reason=reason, signal="submission.rejected")


def after_not_sent(submission: Submission, reason: str, *, now_ms: int, luck: float) -> Settlement:
    """The upstream cannot have seen the request, so it is safe to send it again later."""
    if submission.tries >= NOT_SENT_ATTEMPTS:
        return Settlement(state="dead", outcome="not_sent", reason=reason, signal="submission.dead")
    wait_ms = jittered_ms(delay_s(submission.tries), luck=luck)
    return Settlement(state="waiting", outcome="not_sent", reason=reason, run_at_ms=now_ms + wait_ms)


def after_veto(reason: str) -> Settlement:
    """A plugin does not want it to be sent: it was not sent, and never is."""
    return Settlement(state="rejected", outcome="vetoed", reason=reason, signal="submission.rejected")


def after_failed_veto(submission: Submission, reason: str, *, now_ms: int, luck: float) -> Settlement:
    """A plugin that may veto it could not be asked: it was not sent, and is asked about later. It says nothing about the upstream."""
    settlement = after_not_sent(submission, reason, now_ms=now_ms, luck=luck)
    return msgspec.structs.replace(settlement, outcome="held_back")


def after_silence(reason: str) -> Settlement:
    """The upstream may have seen the request, so only evidence may decide what follows."""
    return Settlement(
        state="uncertain", outcome=Outcome.UNCERTAIN, reason=reason, signal="submission.uncertain"
    )


_ACTIONS: dict[type, str] = {
    Imagine: "IMAGINE",
    Blend: "BLEND",
    Describe: "DESCRIBE",
    Shorten: "SHORTEN",
    Swap: "SWAP_FACE",
    VideoSwap: "SWAP_VIDEO_FACE",
    Edit: "EDIT",
    Retexture: "RETEXTURE",
    Show: "SHOW",
    Video: "VIDEO",
}
"""The action of the task that each kind of request makes, as Plus and trueai name it."""


def action_made(request: Request) -> str:
    """The action of the task that a request makes, as Plus names it; "" if only its callback shows it."""
    match request:
        case Action():
            return action_of(Button(custom_id=request.custom_id).kind)
        case Change():
            return request.action
        case SimpleChange():
            return as_change(request).action
        case _:
            return _ACTIONS.get(type(request), "")
