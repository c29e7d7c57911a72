"""Tell another system of every picture and every failure: FORWARD_URL, signed with FORWARD_SECRET (whsec_…) if it is set."""

from __future__ import annotations

import os
from typing import Any

from hookchain import Chain, Event, Task, forward, receiver, task_failed, task_succeeded

URL, SECRET = os.environ["FORWARD_URL"], os.environ.get("FORWARD_SECRET", "")


@task_succeeded.connect
@task_failed.connect
@receiver(attempts=12)
async def tell(action: str, *, task: Task, event: Event, chain: Chain, **_: Any) -> None:
    """One that does not answer holds back nobody else, and is told later."""
    await forward(task, event=event, chain=chain, url=URL, secret=SECRET)
