"""One task's whole story: every event, who heard of it and why, every submission with its tries."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from hooks.api import shapes
from hooks.dashboard.desk import Desk
from hooks.dashboard.render import answer, render
from hooks.problems import Problem
from hooks.session import Visitor
from hooks.topics import Look, Marks, Piece
from midjourney.redact import shortened
from storage import explained
from storage.engine import Connection
from storage.explained import Explained
from storage.records import Attempt, Delivery, Event, Submission


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One point of the story: an event with its deliveries, or a submission with its tries."""

    at_ms: int
    event: Event | None = None
    deliveries: tuple[Delivery, ...] = ()
    submission: Submission | None = None
    tries: tuple[Attempt, ...] = ()
    text: str = ""


class Timeline:
    """Handlers over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """The page."""
        upstream, task_id = request.path_params["upstream"], request.path_params["task_id"]
        at_ms = time.time_ns() // 1_000_000
        found = await self._desk.database.read(
            lambda connection: explained.explained(connection, upstream, task_id)
        )
        if found is None:
            raise Problem(404, f"no task {task_id!r} at upstream {upstream!r}")
        return answer(
            request, "timeline.html", **self._desk.shared(visitor, "gallery"), **shown(found), since_ms=at_ms
        )

    def topic(self, request: Request) -> TimelineTopic:
        """What the page of a task shows."""
        return TimelineTopic(request.path_params["upstream"], request.path_params["task_id"])


class TimelineTopic:
    """The story of one task."""

    def __init__(self, upstream: str, task_id: str) -> None:
        self.key = f"task {upstream} {task_id}"
        self._upstream = upstream
        self._task_id = task_id

    def look(self, connection: Connection, known: Marks) -> Look:
        """One piece: the story, whole."""
        marks = {"story": explained.mark(connection, self._upstream, self._task_id)}
        if known == marks:
            return Look(marks=marks, changed=[])
        found = explained.explained(connection, self._upstream, self._task_id)
        changed = [] if found is None else [Piece(render=_renderer(found), changed_at_ms=_last_ms(found))]
        return Look(marks=marks, changed=changed)


def _renderer(found: Explained) -> Callable[[str], str]:
    values = shown(found)
    return lambda language: render("_changed_story.html", language, **values)


def _last_ms(found: Explained) -> int:
    heard = [one.updated_at_ms for one in found.deliveries]
    told = [one.received_at_ms for one in found.events]
    return max([*heard, *told, *(one.updated_at_ms for one in found.asked_for), found.task.updated_at_ms])


def shown(found: Explained) -> dict[str, Any]:
    """The story in the order in which it happened."""
    heard: dict[int, list[Delivery]] = {}
    for delivery in found.deliveries:
        heard.setdefault(delivery.event_id, []).append(delivery)
    story = [
        Told(
            at_ms=event.received_at_ms,
            event=event,
            deliveries=tuple(heard.get(event.id, ())),
            text=pretty(shapes.shown(event.payload)),
        )
        for event in found.events
    ]
    made = [found.made_by] if found.made_by is not None else []
    for submission in (*made, *found.asked_for):
        request = shortened(shapes.shown(submission.request))
        tries = tuple(found.attempts[submission.id])
        story.append(
            Told(at_ms=submission.created_at_ms, submission=submission, tries=tries, text=pretty(request))
        )
    story.sort(key=lambda one: (one.at_ms, one.event is not None))
    answers = {
        (one.submission_id, one.number): pretty(shapes.shown(one.answer))
        for tries in found.attempts.values()
        for one in tries
    }
    return {
        "row": found.task,
        "story": story,
        "only": len(found.events) if found.is_cut else 0,
        "answers": answers,
        "is_made_by": found.task.submission_id,
    }


def pretty(value: Any) -> str:
    """A payload for people; "" for none."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value)).decode()
