"""Upscale the first picture of a new grid, and animate it. MOTION is low (the default) or high."""

from __future__ import annotations

import os
from typing import Any

from hookchain import Chain, Task, task_succeeded

MOTION: Any = os.environ.get("MOTION", "low")


@task_succeeded.connect
async def animate(action: str, *, task: Task, chain: Chain, **_: object) -> None:
    """Only single pictures can be animated."""
    if task.is_grid and chain.depth == 0:
        await chain.press("U1")
    elif action == "UPSCALE" and chain.depth == 1:
        await chain.animate(MOTION)
