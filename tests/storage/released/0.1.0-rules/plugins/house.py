"""A plugin as a user of 0.1.0 wrote it."""

import asyncio
from pathlib import Path
from typing import Any

from hookchain import Chain, GiveUp, Retry, Task, receiver, task_failed, task_succeeded


@task_succeeded.connect_via("IMAGINE")
async def presses_later(action: str, *, task: Task, chain: Chain, **_: Any) -> None:
    """Two that wait, asked for by a plugin."""
    if task.prompt == "a horse":
        await chain.press("U3", after=60)
        await chain.press("U4", after=7200, priority=3)


@task_succeeded.connect_via("IMAGINE")
async def is_broken(action: str, *, task: Task, **_: Any) -> None:
    """A dead letter until its file is there."""
    if task.prompt == "a fish" and not Path("mended").exists():
        raise GiveUp("broken")


@task_succeeded.connect_via("IMAGINE")
@receiver(attempts=5)
async def is_not_ready(action: str, *, task: Task, chain: Chain, **_: Any) -> None:
    """It waits for its next attempt."""
    if task.prompt == "a horse":
        if not Path("mended").exists():
            raise Retry(after_s=60)
        chain.press("V1")


@task_succeeded.connect_via("IMAGINE")
@receiver(timeout_s=600, name="slow")
async def runs_long(action: str, *, task: Task, chain: Chain, **_: Any) -> None:
    """It is running when the process is killed."""
    if "bird" in task.prompt:
        if not Path("mended").exists():
            await asyncio.sleep(600)
        await chain.press("U2")


@task_failed.connect
def in_a_thread(action: str, *, task: Task, chain: Chain, **_: Any) -> None:
    """Plain functions are receivers too."""
    if "twice" in task.prompt:
        chain.imagine(task.prompt)
