"""Imagine the prompts of a describe: the first DESCRIBED of its four (default: 1)."""

from __future__ import annotations

import os
import re

from hookchain import Chain, Task, task_succeeded

COUNT = int(os.environ.get("DESCRIBED", "1"))


@task_succeeded.connect_via("DESCRIBE")
async def describe_then_imagine(action: str, *, task: Task, chain: Chain, **_: object) -> None:
    """The prompts are lines that begin with 1️⃣ to 4️⃣."""
    prompts = re.findall(r"[1-4]\ufe0f?\u20e3\s*(.+)", task.prompt)
    for prompt in prompts[:COUNT]:
        await chain.imagine(prompt.strip())
    if not prompts:
        chain.note("the describe contains no prompt")
