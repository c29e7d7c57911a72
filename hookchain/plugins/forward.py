"""Forward every success and failure to FORWARD_URL, signed with FORWARD_SECRET (whsec_…) if it is set."""

from __future__ import annotations

import os

from hookchain import Chain, Event, Task, forward, receiver, task_failed, task_succeeded

URL, SECRET = os.environ["FORWARD_URL"], os.environ.get("FORWARD_SECRET", "")


@task_succeeded.connect
@task_failed.connect
@receiver(attempts=12)
async def tell(action: str, *, task: Task, event: Event, chain: Chain, **_: object) -> None:
    """If the other system does not answer, only this receiver is retried later; others are not delayed."""
    await forward(task, event=event, chain=chain, url=URL, secret=SECRET)
