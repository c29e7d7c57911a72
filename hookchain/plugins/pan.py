"""Upscale the first picture of a new grid, and pan it. PAN is left, right (the default), up or down."""

from __future__ import annotations

import os
from typing import Any

from hookchain import Chain, Task, task_succeeded

TO: Any = os.environ.get("PAN", "right")


@task_succeeded.connect
async def pan(action: str, *, task: Task, chain: Chain, **_: object) -> None:
    """Upscale a grid at depth 0, and pan the upscale. The resulting grid is left alone."""
    if task.is_grid and chain.depth == 0:
        await chain.press("U1")
    elif action == "UPSCALE" and chain.depth == 1:
        await chain.pan(TO)
