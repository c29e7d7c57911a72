"""What a question is told of a task: its present state, or what the server learnt when it last asked its own upstream.

new-api stores a submit with status "" and without progress, and asks its upstream for news every 15 s
(`relay/relay-mj.go`, `controller/midjourney.go`). Callbacks are not concerned: a relay that passes `notifyHook` on lets its
upstream call, which knows more than the relay does. Time is always an argument.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from midjourney.sandbox.faults import NEWS_MS, Faults
from midjourney.sandbox.jobs import Job
from midjourney.sandbox.profiles import ServerProfile
from midjourney.sandbox.wire import Task

_LEARNT = ("finalPrompt", "messageId", "messageContent", "messageHash")


class News:
    """Knows every task at once, or with the fault `stale` as it was when the server last asked."""

    def __init__(self, profile: ServerProfile, faults: Faults, speed: float, now_ms: int) -> None:
        self._profile = profile
        self._is_stale = faults.has("stale")
        self._every_ms = NEWS_MS / speed
        self._next_ms = now_ms + self._every_ms
        self._known: dict[str, Task] = {}

    def gather(self, jobs: Iterable[Job], now_ms: int) -> None:
        """Learn the present state of all tasks, if it is time."""
        if self._is_stale and now_ms >= self._next_ms:
            self._known = {job.task.id: job.task for job in jobs}
            self._next_ms += self._every_ms * (1 + (now_ms - self._next_ms) // self._every_ms)

    def next_due_ms(self) -> float | None:
        """When `gather` has something to do again, in epoch milliseconds, or None."""
        return self._next_ms if self._is_stale else None

    def of(self, job: Job) -> Task:
        """The task as an answer shows it. new-api never shows the description of the task itself, but that of its answer."""
        known = self._known.get(job.task.id) if self._is_stale else self._at_once(job)
        task = self._unasked(job.task) if known is None else known
        return replace(task, description="Submit success") if self._profile.shape == "go" else task

    def _at_once(self, job: Job) -> Task | None:
        """The present state. Even without the fault, new-api has news only of what is under way."""
        is_new = self._profile.shape == "go" and job.task.status in ("NOT_START", "SUBMITTED")
        return None if is_new else job.task

    def _unasked(self, task: Task) -> Task:
        """A task of which the server knows nothing but that its upstream took it."""
        properties = {key: value for key, value in task.properties.items() if key not in _LEARNT}
        bare = replace(
            task,
            status="NOT_START",
            start_time=None,
            finish_time=None,
            progress="0%",
            fail_reason=None,
            buttons=(),
            image_width=None,
            image_height=None,
            properties=properties,
        )
        if self._profile.shape != "go":
            return bare
        return replace(bare, status="", state="", prompt_en="")
