"""Classifies the answers to submits: one classifier for all dialects, because their answers overlap and contradict.

The order of the checks protects money: an answer that leaves open whether the upstream accepted the job is *uncertain*, and only
a clear refusal is a rejection.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from midjourney.decode import decode_answer
from midjourney.errors import Undecodable
from midjourney.requests import RequestKind
from midjourney.types import SubmitAnswer


class Outcome(StrEnum):
    """The outcome of a submit, according to its answer."""

    ACCEPTED = "accepted"  # a task was created, or continued (modal)
    QUEUED = "queued"  # accepted, waiting behind others
    NEEDS_MODAL = "needs_modal"  # a new task waits for its modal to be answered
    EXISTED = "existed"  # the task existed already: it is adopted, and costs nothing
    REJECTED = "rejected"  # the upstream refused
    UNCERTAIN = "uncertain"  # the answer does not show whether a task was created


class Refusal(StrEnum):
    """The reason of a rejection, as far as it decides what to do next."""

    QUEUE_FULL = "queue_full"  # works later: 23, 30, trueai's 9 and empty HTTP 403, HTTP 429
    STALE_PARENT = "stale_parent"  # 3 and 4, which also occur right after SUCCESS and pass within seconds
    AUTH = "auth"  # the key is refused: a person must act
    FINAL = "final"  # banned prompt, bad parameter, unknown button


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A classified answer. `ids` are the tasks that it names; `reason` is for people; `retry_after_s` is in seconds."""

    outcome: Outcome
    ids: tuple[str, ...] = ()
    reason: str = ""
    refusal: Refusal | None = None
    retry_after_s: float | None = None
    answer: SubmitAnswer | None = None


_REFUSED = frozenset({-1, 9, 24})
"""Codes that always mean a refusal: trueai's exceptions, failures, banned prompts."""

_NEVER_SENT = frozenset(
    {"model_not_found", "insufficient_user_quota", "insufficient_quota", "invalid_api_key", "access_denied"}
)
"""Error codes of relays that have no channel or no credit to forward a request (new-api, one-api)."""

_MODAL_WORDS = ("窗口", "window", "confirm")
_EXISTED_WORDS = ("已存在", "exist")
_QUEUE_WORDS = ("in queue", "排队")
_FULL_WORDS = ("队列已满", "queue is full", "queue full", "full queue")


_FINAL_WORDS = (
    "关联动作不存在",  # no such button (Plus 3, with code 3)
    "不支持",
    "不能为空",
    "不允许",
    "参数错误",
    "格式错误",
    "unknown_action",
    "quota",
    "not support",
    "cannot be empty",
    "invalid",
)
"""Words in answers with code 3 or 4 that waiting will not help."""


def classify(
    kind: RequestKind,
    status: int,
    body: bytes,
    *,
    bare_21_existed: bool = False,
    retry_after_s: float | None = None,
) -> Verdict:
    """Classify an HTTP answer to a submit of this kind. Never raises.

    `status` is the HTTP status: novicezk and Plus reject with 200, new-api with 400 or 429, trueai with 200 and 404.
    `bare_21_existed`: a code 21 whose description does not decide means "exists already", not "a modal needs an answer".
    """
    try:
        answer = decode_answer(body)
    except Undecodable as error:
        if kind == "cancel" and status in (200, 204) and not body.strip():
            return Verdict(outcome=Outcome.ACCEPTED, reason=f"HTTP {status}, empty")  # trueai v11
        return _without_answer(status, body, error, retry_after_s)
    if status in (401, 403):
        return _rejected(Refusal.AUTH, answer)
    if status == 429 or _is_queue_full(answer):
        return _rejected(Refusal.QUEUE_FULL, answer, retry_after_s)
    return _by_code(kind, status, answer, bare_21_existed=bare_21_existed)


def _by_code(kind: RequestKind, status: int, answer: SubmitAnswer, *, bare_21_existed: bool) -> Verdict:
    match answer.code:
        case 21:
            return _twenty_one(answer, bare_existed=bare_21_existed)
        case 22 if not answer.ids:
            return Verdict(outcome=Outcome.UNCERTAIN, reason="code 22 without a task id", answer=answer)
        case 22:
            return _accepted(Outcome.QUEUED, answer)
        case 0 | 1 | 200:
            return _success(kind, answer)
        case 3 | 4:
            return _rejected(_three_or_four(kind, answer), answer)
        case 5:
            # new-api's do_request_failed: its own upstream did not answer for 60 s, but may have accepted.
            return Verdict(outcome=Outcome.UNCERTAIN, reason=_reason(answer), answer=answer)
        case None:
            return _without_code(status, answer)
        case _ if status >= 500 or _may_be_a_yes(status, answer):
            return Verdict(
                outcome=Outcome.UNCERTAIN, reason=f"HTTP {status}, {_reason(answer)}", answer=answer
            )
        case _:
            return _rejected(Refusal.FINAL, answer)


def _may_be_a_yes(status: int, answer: SubmitAnswer) -> bool:
    """True if an answer with an unknown code names a task, as in `{"code": "success", "data": "5"}`."""
    return 200 <= status < 300 and answer.code not in _REFUSED and bool(answer.ids or answer.mentioned)


def _success(kind: RequestKind, answer: SubmitAnswer) -> Verdict:
    if not answer.ids and kind != "cancel":
        # Success without a task: there is nothing to follow, but perhaps something to pay.
        return Verdict(outcome=Outcome.UNCERTAIN, reason="accepted, but without a task id", answer=answer)
    text = answer.description.lower()
    # new-api rewrites 21 to 1 (except for Inpaint and CustomZoom) and 22 to 1 (always), and leaves the rest unchanged.
    if kind == "action" and _speaks_of_modal(answer):
        return _accepted(Outcome.NEEDS_MODAL, answer)
    if any(word in text for word in _QUEUE_WORDS) or answer.properties.get("numberOfQueues"):
        return _accepted(Outcome.QUEUED, answer)
    return _accepted(Outcome.ACCEPTED, answer)


def _three_or_four(kind: RequestKind, answer: SubmitAnswer) -> Refusal:
    """Right after the parent's SUCCESS, 3 and 4 pass within seconds (novicezk issue 252), unless the description is final."""
    about_a_task = kind in ("action", "change", "simple_change", "modal")
    words = answer.description.lower()
    return (
        Refusal.STALE_PARENT
        if about_a_task and not any(word in words for word in _FINAL_WORDS)
        else Refusal.FINAL
    )


def _twenty_one(answer: SubmitAnswer, *, bare_existed: bool) -> Verdict:
    """21 means "a modal needs an answer" (Plus, trueai, on `action`) or "exists already" (novicezk to 2024-03, on `change`)."""
    if not answer.ids:
        return Verdict(outcome=Outcome.UNCERTAIN, reason="code 21 without a task id", answer=answer)
    text = answer.description.lower()
    if any(word in text for word in _EXISTED_WORDS) or answer.properties.get("status"):
        return _accepted(Outcome.EXISTED, answer)
    if bare_existed and not _speaks_of_modal(answer):
        return _accepted(Outcome.EXISTED, answer)
    return _accepted(Outcome.NEEDS_MODAL, answer)


def _speaks_of_modal(answer: SubmitAnswer) -> bool:
    text = answer.description.lower()
    return any(word in text for word in _MODAL_WORDS) or answer.properties.get("remix") is True


def _is_queue_full(answer: SubmitAnswer) -> bool:
    if answer.code in (23, 30):
        return True
    # 9 is "failed" in novicezk and Plus, "queue full" in trueai: only the description decides.
    return answer.code == 9 and any(word in answer.description.lower() for word in _FULL_WORDS)


def _without_code(status: int, answer: SubmitAnswer) -> Verdict:
    """Classify JSON without the family's envelope: an OpenAI error, or a gateway's own format."""
    if answer.error in _NEVER_SENT:
        return _rejected(Refusal.FINAL, answer)
    if 400 <= status < 500 and status != 408:
        return _rejected(Refusal.FINAL, answer)
    return Verdict(
        outcome=Outcome.UNCERTAIN, reason=f"HTTP {status} without a code: {_reason(answer)}", answer=answer
    )


def _without_answer(status: int, body: bytes, error: Undecodable, retry_after_s: float | None) -> Verdict:
    shown = body[:200].decode("utf-8", "replace").strip() or "an empty body"
    reason = f"HTTP {status}: {shown}"
    if status == 403 and not body.strip():
        # trueai v11's rate limit; its authentication failures have a description.
        return Verdict(
            outcome=Outcome.REJECTED, refusal=Refusal.QUEUE_FULL, reason=reason, retry_after_s=retry_after_s
        )
    if status in (401, 403):
        return Verdict(outcome=Outcome.REJECTED, refusal=Refusal.AUTH, reason=reason)
    if status == 429:
        return Verdict(
            outcome=Outcome.REJECTED, refusal=Refusal.QUEUE_FULL, reason=reason, retry_after_s=retry_after_s
        )
    if 300 <= status < 500 and status != 408:
        return Verdict(outcome=Outcome.REJECTED, refusal=Refusal.FINAL, reason=reason)
    return Verdict(outcome=Outcome.UNCERTAIN, reason=f"{reason} ({error.reason})")


def _accepted(outcome: Outcome, answer: SubmitAnswer) -> Verdict:
    return Verdict(outcome=outcome, ids=answer.ids, reason=_reason(answer), answer=answer)


def _rejected(refusal: Refusal, answer: SubmitAnswer, retry_after_s: float | None = None) -> Verdict:
    return Verdict(
        outcome=Outcome.REJECTED,
        refusal=refusal,
        reason=_reason(answer),
        retry_after_s=retry_after_s,
        answer=answer,
    )


def _reason(answer: SubmitAnswer) -> str:
    code = "no code" if answer.code is None else f"code {answer.code}"
    banned = answer.properties.get("bannedWord")
    reason = f"{code}: {answer.description.strip()}" if answer.description.strip() else code
    return reason + (f" ({banned})" if banned else "")
