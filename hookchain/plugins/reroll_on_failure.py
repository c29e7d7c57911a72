"""Ask again for a picture that failed, REROLLS times in a chain (2 unless set).

A prompt that was refused for its words would be refused again, so it is left alone.
"""

from __future__ import annotations

import os
from typing import Any

from hookchain import Chain, Task, receiver, task_failed

TIMES = int(os.environ.get("REROLLS", "2"))


@task_failed.connect_via("IMAGINE")
@receiver(limit=TIMES, per="chain")
async def reroll_on_failure(action: str, *, task: Task, chain: Chain, **_: Any) -> None:
    """A failed task has no buttons, so the prompt is submitted anew."""
    if "banned" not in task.fail_reason.lower():
        await chain.imagine(task.prompt)
