"""The fault `late-buttons`: buttons and finalPrompt come after SUCCESS. Time is always an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from midjourney.sandbox.faults import LATE_MS, Faults
from midjourney.sandbox.wire import Task

if TYPE_CHECKING:
    from midjourney.sandbox.jobs import Job


class LateButtons:
    """Withholds buttons and finalPrompt of finished tasks to which the fault happens."""

    def __init__(self, faults: Faults, speed: float) -> None:
        self._faults = faults
        self._late_ms = LATE_MS / speed
        self._held: list[tuple[float, Job, Task]] = []

    def hold_back(self, job: Job, now_ms: int) -> None:
        """Remove buttons and finalPrompt from a task that has just succeeded, if the fault happens to it."""
        if job.task.status != "SUCCESS" or not self._faults.strikes("late-buttons", job.uuid):
            return
        self._held.append((now_ms + self._late_ms, job, job.task))
        left = {key: value for key, value in job.task.properties.items() if key != "finalPrompt"}
        job.task = replace(job.task, buttons=(), properties=left)

    def release(self, now_ms: int) -> list[Job]:
        """Restore the tasks that are due. Returns their jobs."""
        due = [(job, complete) for due_ms, job, complete in self._held if due_ms <= now_ms]
        self._held = [held for held in self._held if held[0] > now_ms]
        for job, complete in due:
            job.task = complete
        return [job for job, _ in due]

    def next_due_ms(self) -> float | None:
        """When the next task is due for `release`, in epoch milliseconds, or None."""
        return min((due_ms for due_ms, _, _ in self._held), default=None)
