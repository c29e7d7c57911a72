"""Press some buttons of a new grid, as the rule `pick` does.

PICK names them, comma-separated: labels ("U1,U3"), globs ("U[12]"), kinds ("reroll"). U1 unless it is set.
"""

from __future__ import annotations

import os
from typing import Any

from hookchain import Chain, Task, task_succeeded

BUTTONS = [one.strip() for one in os.environ.get("PICK", "U1").split(",") if one.strip()]


@task_succeeded.connect
async def pick(action: str, *, task: Task, chain: Chain, **_: Any) -> None:
    """Press them on root grids only; the grids that grow from those are left alone."""
    if task.is_grid and chain.depth == 0:
        await chain.press(*BUTTONS)
