"""Upscale the first picture, zoom out, upscale the first of that, and so on: ZOOM_OUT times in a chain (2 unless set)."""

from __future__ import annotations

import os
from typing import Any

from hookchain import Chain, Task, receiver, task_succeeded

TIMES = int(os.environ.get("ZOOM_OUT", "2"))


@task_succeeded.connect
async def upscale_first(action: str, *, task: Task, chain: Chain, **_: Any) -> None:
    """Only a single picture can be zoomed out of."""
    if task.is_grid:
        await chain.press("U1")


@task_succeeded.connect_via("UPSCALE")
@receiver(limit=TIMES, per="chain")
async def zoom_out(action: str, *, task: Task, chain: Chain, **_: Any) -> None:
    """Twice as much of the scene; what comes is a grid."""
    await chain.zoom("2x")
