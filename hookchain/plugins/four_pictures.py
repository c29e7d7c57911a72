"""Press U1 to U4 of each new grid, and send one message when all four have ended. NOTIFY_TO holds Apprise addresses, separated by spaces."""

from __future__ import annotations

import os

from hookchain import Chain, Task, children_done, notify, receiver, task_succeeded

TO = os.environ["NOTIFY_TO"].split()


@task_succeeded.connect
async def press_all(action: str, *, task: Task, chain: Chain, **_: object) -> None:
    """The grids of prompts, but not the grids that grow from those."""
    if task.is_grid and chain.depth == 0:
        chain.press("U*")


@children_done.connect
@receiver(limit=1, per="task")
async def send_pictures(action: str, *, task: Task, chain: Chain, **_: object) -> None:
    """Once per grid, also if a person presses more of its buttons later."""
    if task.is_grid and chain.depth == 0:
        chain.fired = True  # count it for the limit, although nothing is submitted
        lines = [f"{one.label}: {one.failure or one.image_url}" for one in chain.children]
        await notify("\n".join(lines), to=TO, title=task.prompt)
