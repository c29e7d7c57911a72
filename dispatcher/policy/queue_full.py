"""What a queue-full answer means: whose it is, what hookchain does, and when it submits again. Pure.

The upstream's queue has no room, and it took nothing, so hookchain may send the submission again. These answers say so
(midjourney/codes.py recognises them): code 23 (novicezk, Plus), code 30 (new-api), code 9 of trueai if its words
say so, HTTP 429 (new-api and other gateways), and trueai's HTTP 403 without a body. hookchain then does three things:

- The submission waits, and counts a try: for as long as the upstream asks (Retry-After), else 2, 4, 8 … 60 s. After `ATTEMPTS` tries
  it is a dead letter (`after`).
- Nothing else leaves for this upstream for `HOLD_MS`, or for as long as it asks (`hold_ms`).
- An answer to a modal that code 23 refused is rejected, and the action that opened the modal is repeated after the same waits
  (`deleted_modal`).
"""

from __future__ import annotations

from dispatcher.policy.backoff import delay_s, jittered_ms
from midjourney.codes import Outcome, Refusal
from midjourney.requests import Modal, Request
from storage.records import SubmissionState
from storage.submissions.settlements import Settlement

CEILING_S = 60.0
"""A full queue gets free within the time of one picture, about a minute; longer waits would only let others in first."""

ATTEMPTS = 200
"""A submission that meets a full queue for about three hours becomes a dead letter."""

HOLD_MS = 500
"""How long nothing is sent after a full queue that names no time: one request is enough to find that out."""

DELETES_MODAL = 23
"""The code with which Plus 3.7.5 also deletes the modal that was to be answered."""


def after(tries: int, retry_after_s: float | None, now_ms: int, luck: float) -> tuple[SubmissionState, int]:
    """The state of a submission that a full queue refused at its `tries`th try, and when it is sent again (epoch ms)."""
    if tries >= ATTEMPTS:
        return "dead", 0
    wait_s = retry_after_s or delay_s(tries, ceiling_s=CEILING_S)
    return "waiting", now_ms + jittered_ms(wait_s, luck=luck)


def repeat_delay_ms(tries: int) -> int:
    """Milliseconds until an action whose modal was deleted is repeated, after this many tries of the action."""
    return int(1000 * delay_s(tries, ceiling_s=CEILING_S))


def is_queue_full(settlement: Settlement) -> bool:
    """True if a full queue refused the attempt."""
    return settlement.outcome == f"{Outcome.REJECTED}:{Refusal.QUEUE_FULL}"


def hold_ms(settlement: Settlement) -> int:
    """How long nothing is sent to the upstream whose full queue refused the attempt."""
    asked_ms = 0 if settlement.retry_after_s is None else int(1000 * settlement.retry_after_s)
    return asked_ms or HOLD_MS


def deleted_modal(request: Request, settlement: Settlement) -> bool:
    """True if a full queue refused an answer to a modal, and the upstream deleted the modal with that."""
    return isinstance(request, Modal) and is_queue_full(settlement) and settlement.code == DELETES_MODAL
