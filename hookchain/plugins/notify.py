"""Notify people of successes and failures. NOTIFY_TO holds Apprise addresses (discord://…, tgram://…), separated by spaces."""

from __future__ import annotations

import os

from hookchain import Chain, Task, notify, receiver, task_failed, task_succeeded

TO = os.environ["NOTIFY_TO"].split()


@task_succeeded.connect
@receiver(limit=1, per="chain")
async def tell_success(action: str, *, task: Task, chain: Chain, **_: object) -> None:
    """Once per chain: its first picture."""
    chain.fired = True  # count it for the limit, although nothing is submitted
    await notify(f"{task.prompt}: {task.image_url}", to=TO, title="hookchain")


@task_failed.connect
async def tell_failure(action: str, *, task: Task, **_: object) -> None:
    """Every failure."""
    await notify(f"{task.prompt} failed: {task.fail_reason}", to=TO, title="hookchain")
