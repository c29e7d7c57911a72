"""Keep every picture in ARCHIVE_TO (a folder, or s3://bucket/prefix), with a JSON file about it beside it."""

from __future__ import annotations

import os
from typing import Any

from hookchain import Chain, Task, archive, receiver, task_succeeded

TO = os.environ.get("ARCHIVE_TO", "pictures")


@task_succeeded.connect
@receiver(timeout_s=300, concurrency=4)
async def keep(action: str, *, task: Task, chain: Chain, **_: Any) -> None:
    """Its address expires, so a failure is tried again soon, by an address that was asked for anew."""
    if task.image_url:
        chain.note(f"kept {(await archive(task, chain=chain, to=TO)).name}")
