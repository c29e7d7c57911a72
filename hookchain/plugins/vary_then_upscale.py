"""Vary a picture of a new grid, and upscale the results, as the rules of examples/vary-then-upscale.toml do.

VARY is the button to press; the default is "V1".
"""

from __future__ import annotations

import os

from hookchain import Chain, Task, task_succeeded

VARY = os.environ.get("VARY", "V1")


@task_succeeded.connect
async def vary_then_upscale(action: str, *, task: Task, chain: Chain, **_: object) -> None:
    """Vary a grid at depth 0, upscale one at depth 1. Deeper grids are left alone."""
    if task.is_grid and chain.depth < 2:
        await chain.press(VARY if chain.depth == 0 else "U*")
