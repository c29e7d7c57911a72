"""One account of the sandbox without a server: time is what a test says it is."""

from __future__ import annotations

from typing import Any

from midjourney.sandbox.engine import Engine
from midjourney.sandbox.faults import parse
from midjourney.sandbox.profiles import PROFILES
from midjourney.sandbox.submits import Submits
from midjourney.sandbox.wire import Answer, Body, Task


class Account:
    """An engine and its submits."""

    def __init__(
        self,
        dialect: str = "mj-plus",
        *,
        seed: int | None = 1,
        now_ms: int = 0,
        places: int = 1,
        queue: int = 1,
        faults: str = "",
    ) -> None:
        self.engine = Engine(
            seed=seed,
            now_ms=now_ms,
            speed=1.0,
            concurrency=places,
            queue=queue,
            profile=PROFILES[dialect],
            faults=parse(faults, 1),
        )
        self._submits = Submits(self.engine)
        self.now_ms = now_ms

    def submit(self, path: str, **fields: Any) -> Answer:
        """Submit below `submit/` at this moment."""
        return self._submits.by_path[f"submit/{path}"](Body(**fields), "http://x", self.now_ms)

    def let_pass(self, ms: int) -> None:
        """Let time pass, a tenth of a second at a time."""
        for _ in range(0, ms, 100):
            self.now_ms += 100
            self.engine.advance(self.now_ms)

    def press(self, task_id: object, label: str) -> Answer:
        """Press the button with this label."""
        custom_id = next(button.custom_id for button in self.task(task_id).buttons if button.label == label)
        return self.submit("action", task_id=str(task_id), custom_id=custom_id)

    def task(self, task_id: object) -> Task:
        """The present state of a task."""
        return self.engine.jobs[str(task_id)].task

    def shown(self, task_id: object) -> Task:
        """What a question is told of a task."""
        return self.engine.news.of(self.engine.jobs[str(task_id)])
