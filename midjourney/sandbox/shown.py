"""Tasks as this server writes them, with URLs of pictures and videos that are signed at that moment, as Discord's are."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from midjourney.sandbox import drawing, images
from midjourney.sandbox.engine import Engine
from midjourney.sandbox.jobs import Job
from midjourney.sandbox.shapes import task_shape
from midjourney.sandbox.wire import Task


class Shown:
    """Writes the tasks of an engine. `now_ms`: the clock."""

    def __init__(self, engine: Engine, now_ms: Callable[[], int]) -> None:
        self._engine = engine
        self._now_ms = now_ms

    def answer(self, job: Job, task_id: str = "") -> dict[str, object]:
        """The task as a question is told of it. `task_id`: the id that was asked for, if it is another one of the same task."""
        task = self._engine.news.of(job)
        return self._written(job, replace(task, id=task_id or task.id), expired=False)

    def callback(self, job: Job, task: Task) -> dict[str, object]:
        """A state of the task as a callback tells it."""
        return self._written(job, task, expired=self._engine.faults.has("expired"))

    def _written(self, job: Job, task: Task, *, expired: bool) -> dict[str, object]:
        sent = task.properties.get("sent", 1)
        image = images.address(
            job.order.base_url,
            _picture_of(job, task),
            self._now_ms() // 1000,
            expired=expired,
            variant=sent if isinstance(sent, int) else 1,
        )
        videos = [
            images.video_address(
                job.order.base_url, job.picture_name, number, self._now_ms() // 1000, expired=expired
            )
            for number in range(1, drawing.videos_of(job.order.work) + 1)
            if task.status == "SUCCESS"
        ]
        properties = {key: value for key, value in task.properties.items() if key != "sent"}
        shown = replace(task, properties=properties, image_url=image or None)
        big_ids = self._engine.faults.has("big-ids")
        return task_shape(shown, self._engine.profile, mode=job.order.mode, videos=videos, big_ids=big_ids)


def _picture_of(job: Job, task: Task) -> str:
    """The name of the picture in this state of the task; "" if there is none yet."""
    started = task.status in ("IN_PROGRESS", "SUCCESS") and task.properties.get("messageId")
    return job.picture_name if started else ""
