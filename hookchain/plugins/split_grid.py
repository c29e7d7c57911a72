"""Cut every new grid into its four pictures, which is free, and store them in SPLIT_TO (a folder, or s3://…)."""

from __future__ import annotations

import os

from hookchain import Chain, Task, split_grid, task_succeeded

TO = os.environ.get("SPLIT_TO", "pictures")


@task_succeeded.connect
async def keep_quarters(action: str, *, task: Task, chain: Chain, **_: object) -> None:
    """Any grid, at any depth."""
    if task.is_grid:
        chain.note(f"kept {', '.join(await split_grid(task, chain=chain, to=TO))}")
