"""Upscale the first picture of a new grid, and look beside it. PAN is left, right, up or down; right unless it is set."""

from __future__ import annotations

import os
from typing import Any

from hookchain import Chain, Task, task_succeeded

TO: Any = os.environ.get("PAN", "right")


@task_succeeded.connect
async def pan(action: str, *, task: Task, chain: Chain, **_: Any) -> None:
    """A grid at depth 0 is upscaled, its upscale panned; the grid that comes of that is left alone."""
    if task.is_grid and chain.depth == 0:
        await chain.press("U1")
    elif action == "UPSCALE" and chain.depth == 1:
        await chain.pan(TO)
