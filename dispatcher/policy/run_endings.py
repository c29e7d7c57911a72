"""How a run ends if its receiver was not called, or failed. Pure; `luck` is a random number in [0, 1)."""

from __future__ import annotations

import traceback

from dispatcher.plugins.errors import GiveUp, Retry
from dispatcher.policy.backoff import delay_s, jittered_ms
from midjourney.errors import ProtocolError
from storage.deliveries.endings import Ended
from storage.errors import Unkeepable
from storage.records import Delivery
from storage.tasks.believe import TaskReport

ELSEWHERE_MS = 2_000
"""Pause before a delivery whose receiver another worker may have becomes due again; it grows to a minute."""

DEPLOYED_WITHIN_MS = 600_000
"""The age at which the receiver of such a delivery counts as gone: deployments take minutes."""


def failed(delivery: Delivery, most_tries: int, error: BaseException, now_ms: int, luck: float) -> Ended:
    """The receiver raised: it runs again, after the delay of `Retry` or after growing pauses, until its tries are used up."""
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, GiveUp):
        return Ended(state="dead", decision=f"gave up: {error}", error=trace)
    if delivery.tries >= most_tries:
        return Ended(state="dead", decision=f"failed {delivery.tries} times", error=trace)
    if isinstance(error, Retry) and error.after_s is not None:
        wait_ms = int(1000 * error.after_s)
    else:
        wait_ms = jittered_ms(delay_s(delivery.tries), luck=luck)
    return Ended(
        state="waiting", decision="failed; will be tried again", error=trace, run_at_ms=now_ms + wait_ms
    )


def killed(delivery: Delivery) -> Ended:
    """The process ended each time the receiver ran alone, and never while it waited."""
    why = f"the process ended {delivery.deaths} times while this receiver ran alone, and not while it waited"
    cure = "it ends the process (os._exit), crashes the interpreter, or needs more memory than there is"
    return Ended(state="dead", excused=True, decision="ends the process", error=f"{why}: {cure}")


def not_here(delivery: Delivery, why: str, now_ms: int, luck: float, *, is_alone: bool) -> Ended:
    """This worker lacks the receiver or upstream. During a deployment, another worker with a different release may have it."""
    if is_alone or now_ms - delivery.created_at_ms > DEPLOYED_WITHIN_MS:
        return Ended(state="dead", error=why)
    return _excused(delivery, f"waits: here {why}", ELSEWHERE_MS / 1000, now_ms, luck)


def unverified(delivery: Delivery, error: ProtocolError, now_ms: int, luck: float) -> Ended:
    """The upstream does not answer, so the callback cannot be verified: nothing runs, and it is asked again later."""
    return _excused(delivery, f"waits: the callback cannot be verified: {error}", 1.0, now_ms, luck)


def refuted(why: str, answer: TaskReport | None) -> Ended:
    """The upstream contradicts the callback."""
    return Ended(state="done", decision=f"refuted, nothing ran: {why}", refuted=why, report=answer)


def history(answer: TaskReport | None) -> Ended:
    """The callback is about an old task, on which receivers must not act."""
    decision = "history, nothing ran: the task ended before hookchain began to listen"
    return Ended(state="done", decision=decision, report=answer)


def acted_before() -> Ended:
    """The task's SUCCESS is reported again, and the receiver has acted on it."""
    return Ended(state="done", decision="nothing ran: it acted on an earlier report of this SUCCESS")


def crowded(delivery: Delivery, now_ms: int, luck: float) -> Ended:
    """Too many callbacks about unknown tasks are being verified: this one waits, to leave room for known tasks."""
    return _excused(
        delivery, "waits: many callbacks about unknown tasks are being verified", 1.0, now_ms, luck
    )


def _excused(
    delivery: Delivery, decision: str, first_s: float, now_ms: int, luck: float, ceiling_s: float = 60.0
) -> Ended:
    pause_s = delay_s(delivery.excused + 1, first_s=first_s, ceiling_s=ceiling_s)
    run_at_ms = now_ms + jittered_ms(pause_s, luck=luck)
    return Ended(state="waiting", excused=True, decision=decision, run_at_ms=run_at_ms)


def unkept(ending: Ended, error: Exception) -> Ended:
    """The database refuses the end of a run: a replacement that contains only characters that every database accepts."""
    why = str(error) if isinstance(error, Unkeepable) else "".join(traceback.format_exception(error))
    text = f"{ending.error}{why}".encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return Ended(state="dead", decision="the end of the run cannot be stored", error=text)
