"""Press some buttons of a new grid, as the rule `pick` does.

PICK lists them, separated by commas: labels ("U1,U3"), globs ("U[12]"), kinds ("reroll"). The default is U1.
"""

from __future__ import annotations

import os

from hookchain import Chain, Task, task_succeeded

BUTTONS = [name.strip() for name in os.environ.get("PICK", "U1").split(",") if name.strip()]


@task_succeeded.connect
async def pick(action: str, *, task: Task, chain: Chain, **_: object) -> None:
    """Press the buttons of root grids only, not of grids made from them."""
    if task.is_grid and chain.depth == 0:
        await chain.press(*BUTTONS)
