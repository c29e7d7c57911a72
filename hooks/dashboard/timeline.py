"""The page of a task's history: every event with its deliveries and decisions, every submission with its attempts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from msgspec.structs import asdict
from starlette.requests import Request
from starlette.responses import Response

from hooks.api import shapes
from hooks.dashboard.context import PageContext
from hooks.dashboard.render import answer, render
from hooks.problems import Problem
from hooks.topics import Changes, Marks, Piece
from midjourney.redact import shortened
from storage import clock
from storage.engine import Connection
from storage.reading import explanation
from storage.reading.explanation import Explained
from storage.records import Attempt, Delivery, Event, Submission, TaskRow


class StoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the history: an event with its deliveries, or a submission with its attempts."""

    at_ms: int
    event: Event | None = None
    deliveries: tuple[Delivery, ...] = ()
    submission: Submission | None = None
    tries: tuple[Attempt, ...] = ()
    text: str = ""


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows. `only` is the number of shown events if older ones are omitted, else 0. `answers` holds the upstream's
    answers by submission and attempt number. `made_by` is the submission that made the task."""

    row: TaskRow
    story: list[StoryEntry]
    only: int
    answers: Mapping[tuple[str, int], str]
    made_by: str | None


class Timeline:
    """Handlers of the page of a task's history."""

    def __init__(self, context: PageContext) -> None:
        self._context = context

    async def show(self, request: Request) -> Response:
        """Show the page."""
        upstream, task_id = request.path_params["upstream"], request.path_params["task_id"]
        at_ms = clock.now_ms()
        found = await self._context.database.read(
            lambda connection: explanation.explained(connection, upstream, task_id)
        )
        if found is None:
            raise Problem(404, f"There is no task {task_id!r} at upstream {upstream!r}")
        return answer(
            request,
            "timeline.html",
            **self._context.frame_values("gallery"),
            **asdict(story_of(found)),
            since_ms=at_ms,
        )

    def topic(self, request: Request) -> TimelineTopic:
        """Return the topic of a task's page."""
        return TimelineTopic(request.path_params["upstream"], request.path_params["task_id"])


class TimelineTopic:
    """The live part of the page: the history of one task."""

    def __init__(self, upstream: str, task_id: str) -> None:
        self.key = f"task {upstream} {task_id}"
        self._upstream = upstream
        self._task_id = task_id

    def changes(self, connection: Connection, known: Marks) -> Changes:
        """Return the whole history as one piece, if it has changed."""
        marks = {"story": explanation.version(connection, self._upstream, self._task_id)}
        if known == marks:
            return Changes(marks=marks, changed=[])
        found = explanation.explained(connection, self._upstream, self._task_id)
        changed = [] if found is None else [Piece(render=_renderer(found), changed_at_ms=_last_ms(found))]
        return Changes(marks=marks, changed=changed)


def _renderer(found: Explained) -> Callable[[str], str]:
    values = asdict(story_of(found))
    return lambda language: render("_changed_story.html", language, **values)


def _last_ms(found: Explained) -> int:
    deliveries_ms = [delivery.updated_at_ms for delivery in found.deliveries]
    events_ms = [event.received_at_ms for event in found.events]
    submissions_ms = [submission.updated_at_ms for submission in found.asked_for]
    return max([*deliveries_ms, *events_ms, *submissions_ms, found.task.updated_at_ms])


def story_of(found: Explained) -> Story:
    """Return the history in the order in which it happened."""
    deliveries: dict[int, list[Delivery]] = {}
    for delivery in found.deliveries:
        deliveries.setdefault(delivery.event_id, []).append(delivery)
    story = [
        StoryEntry(
            at_ms=event.received_at_ms,
            event=event,
            deliveries=tuple(deliveries.get(event.id, ())),
            text=beginning_of(event.payload),
        )
        for event in found.events
    ]
    made = [found.made_by] if found.made_by is not None else []
    for submission in (*made, *found.asked_for):
        request = shortened(shapes.redacted_payload(submission.request))
        tries = tuple(found.attempts[submission.id])
        story.append(
            StoryEntry(
                at_ms=submission.created_at_ms, submission=submission, tries=tries, text=pretty(request)
            )
        )
    story.sort(key=lambda entry: (entry.at_ms, entry.event is not None))
    answers = {
        (attempt.submission_id, attempt.number): beginning_of(attempt.answer)
        for tries in found.attempts.values()
        for attempt in tries
    }
    return Story(
        row=found.task,
        story=story,
        only=len(found.events) if found.is_cut else 0,
        answers=answers,
        made_by=found.task.submission_id,
    )


MOST_SHOWN = 32 * 1024
"""Most bytes of a payload, and characters of its formatted text, since a page shows hundreds of payloads."""


def beginning_of(payload: bytes) -> str:
    """Format a payload for people; a long one is cut to its beginning."""
    return pretty(shapes.redacted_beginning(payload, MOST_SHOWN))[:MOST_SHOWN]


def pretty(value: object) -> str:
    """Format a JSON value for people; "" for None."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value)).decode()
