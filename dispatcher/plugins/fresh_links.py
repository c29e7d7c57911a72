"""The part of a chain that asks the upstream for addresses that have not expired yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from midjourney.types import Task
from midjourney.video_links import video_links

if TYPE_CHECKING:
    from dispatcher.plugins.upstream_handle import UpstreamHandle


class FreshLinks:
    """Addresses of pictures and videos expire; the upstream knows newer ones."""

    _task: Task
    _handle: UpstreamHandle

    async def fresh_image_url(self, task_id: str = "") -> str:
        """Ask the upstream for the current URL of the picture of the event's task, or of another of its tasks: Discord's expire. "" if
        there is none."""
        refresh = self._handle.refresh
        return await refresh(task_id or self._task.id) if refresh is not None else ""

    async def fresh_video_links(self) -> tuple[str, ...]:
        """Ask the upstream for the current URLs of the task's videos; none if it does not say."""
        read_back = self._handle.read_back
        report = await read_back(self._task.id) if read_back is not None else None
        return video_links(report.task) if report is not None and report.task is not None else ()
