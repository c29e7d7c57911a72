"""Ask once more, ten minutes later, for what an upstream's queue was too full for.

A full queue is asked again for about three hours by itself; this is for what was given up after that, three times in
a chain.
"""

from __future__ import annotations

from typing import Any

from hookchain import Chain, Submission, receiver, submission_dead

LATER_S = 600


@submission_dead.connect
@receiver(limit=3, per="chain")
async def retry_when_queue_is_full(action: str, *, submission: Submission, chain: Chain, **_: Any) -> None:
    """It was refused, so nothing was paid for it."""
    if "queue_full" in submission.outcome:
        await chain.repeat(submission, after=LATER_S)
