"""Repeat a submission, ten minutes later, that failed because the upstream's queue was full.

hookchain itself retries a full queue for about three hours. This plugin repeats submissions that failed even then, up to three
times per chain.
"""

from __future__ import annotations

from hookchain import Chain, Submission, receiver, submission_dead

LATER_S = 600


@submission_dead.connect
@receiver(limit=3, per="chain")
async def retry_when_queue_is_full(action: str, *, submission: Submission, chain: Chain, **_: object) -> None:
    """The upstream refused it, so nothing was paid."""
    if submission.failure_kind == "queue":
        await chain.repeat(submission, after=LATER_S)
