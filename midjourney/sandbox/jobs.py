"""A job of the sandbox: its order and its task."""

from __future__ import annotations

from collections import deque

import msgspec

from midjourney.sandbox.timetable import Step
from midjourney.sandbox.wire import Task

ENDED = ("SUCCESS", "FAILURE", "CANCEL")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The request for a job. `number`: the image of the parent that it shows, or 0.

    `scene`: the seed of the landscape, the same for all descendants of a picture. `path`: the ancestry, see drawing.py.
    `text`: the result of a describe or a shorten. `is_unanswered`: Midjourney does not respond to it, as to a second press of
    the same U button. `mode`: FAST, TURBO or RELAX.
    """

    action: str
    work: str
    prompt: str
    description: str
    base_url: str
    state: str | None = None
    notify_hook: str | None = None
    bot_type: str = "MID_JOURNEY"
    number: int = 0
    scene: int = 0
    path: str = ""
    note: str = ""
    parent_id: str = ""
    text: str = ""
    is_unanswered: bool = False
    mode: str = "FAST"


class Job:
    """A task and the server's internal state of it.

    `picture_name`: the stem of the picture's file name; its URL is made when the task is shown.
    """

    def __init__(self, task: Task, order: Order, uuid: str) -> None:
        self.task = task
        self.order = order
        self.uuid = uuid
        self.custom_id = ""
        self.started_ms = 0
        self.remaining_steps: deque[Step] = deque()
        self.picture_name = ""
