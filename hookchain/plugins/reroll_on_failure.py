"""Repeat an imagine that failed because of a time-out or a full queue, up to REROLLS times per chain (default: 2).

Other failures (moderation, payment, a blocked account) are left alone: repeating them can cost you the account.
"""

from __future__ import annotations

import os

from hookchain import Chain, Submission, Task, receiver, task_failed

TIMES = int(os.environ.get("REROLLS", "2"))
HARMLESS = ("timeout", "queue")


@task_failed.connect_via("IMAGINE")
@receiver(limit=TIMES, per="chain")
async def reroll_on_failure(
    action: str, *, task: Task, submission: Submission | None, chain: Chain, **_: object
) -> None:
    """A failed task has no buttons, so the whole request, with its images, is submitted again."""
    if task.failure_kind not in HARMLESS:
        chain.note(f"left alone: {task.failure_kind}")
    elif submission is None:
        chain.note(
            "cannot repeat it: hookchain did not submit this task, so its request and images are unknown"
        )
    else:
        await chain.repeat(submission)
