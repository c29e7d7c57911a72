"""Imagine the prompts of a describe: the first DESCRIBED of its four (default: 1)."""

from __future__ import annotations

import os

from hookchain import Chain, Task, task_succeeded

COUNT = int(os.environ.get("DESCRIBED", "1"))


@task_succeeded.connect_via("DESCRIBE")
async def describe_then_imagine(action: str, *, task: Task, chain: Chain, **_: object) -> None:
    """Each is submitted as part of this chain."""
    for prompt in task.described[:COUNT]:
        await chain.imagine(prompt)
    if not task.described:
        chain.note("the describe contains no prompt")
