"""Upscale the first picture, zoom out, upscale the first result, and so on: up to ZOOM_OUT times per chain (default: 2)."""

from __future__ import annotations

import os

from hookchain import Chain, Task, receiver, task_succeeded

TIMES = int(os.environ.get("ZOOM_OUT", "2"))


@task_succeeded.connect
async def upscale_first(action: str, *, task: Task, chain: Chain, **_: object) -> None:
    """Only single pictures can be zoomed out."""
    if task.is_grid:
        await chain.press("U1")


@task_succeeded.connect_via("UPSCALE")
@receiver(limit=TIMES, per="chain")
async def zoom_out(action: str, *, task: Task, chain: Chain, **_: object) -> None:
    """Zoom out by 2. The result is a grid."""
    await chain.zoom(2)
