"""Imagine what a describe found: the first DESCRIBED of its four prompts (1 unless set)."""

from __future__ import annotations

import os
import re
from typing import Any

from hookchain import Chain, Task, task_succeeded

COUNT = int(os.environ.get("DESCRIBED", "1"))


@task_succeeded.connect_via("DESCRIBE")
async def describe_then_imagine(action: str, *, task: Task, chain: Chain, **_: Any) -> None:
    """The prompts come as lines that begin with 1️⃣ to 4️⃣."""
    found = re.findall(r"[1-4]\ufe0f?\u20e3\s*(.+)", task.prompt)
    for prompt in found[:COUNT]:
        await chain.imagine(prompt.strip())
    if not found:
        chain.note("the describe has no prompt in it")
