"""Press every U-button of a new grid, as the rule `upscale-all` does."""

from __future__ import annotations

from hookchain import Chain, Task, task_succeeded


@task_succeeded.connect
async def upscale_all(action: str, *, task: Task, chain: Chain, **_: object) -> None:
    """Upscale the four pictures of a root grid. Grids made from it are left alone."""
    if task.is_grid and chain.depth == 0:
        await chain.press("U*")
