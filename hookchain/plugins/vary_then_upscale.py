"""Vary a picture of a new grid, and upscale what comes of it, as the rules of examples/vary-then-upscale.toml do.

VARY says which: "V1" unless it is set.
"""

from __future__ import annotations

import os
from typing import Any

from hookchain import Chain, Task, task_succeeded

VARY = os.environ.get("VARY", "V1")


@task_succeeded.connect
async def vary_then_upscale(action: str, *, task: Task, chain: Chain, **_: Any) -> None:
    """A grid at depth 0 is varied, one at depth 1 upscaled, and deeper ones are left alone."""
    if task.is_grid and chain.depth < 2:
        await chain.press(VARY if chain.depth == 0 else "U*")
