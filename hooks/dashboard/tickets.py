"""The page of a ticket: what a client ordered, the account that it went to, each try, and what the client's hook was told."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from msgspec.structs import asdict
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dispatcher.by_hand import dead_letters
from hooks.api import shapes
from hooks.api.gateway_answers import HookMessage, TicketDetail
from hooks.api.ticket_shapes import story_shape
from hooks.dashboard.clients import OFF
from hooks.dashboard.confirm import confirmation_page
from hooks.dashboard.context import PageContext
from hooks.dashboard.render import HEADERS, answer, is_partial, render
from hooks.dashboard.ticket_lines import TicketLine, changed_at_ms, line_of
from hooks.dashboard.timeline import beginning_of, pretty
from hooks.dashboard.views import Picture
from hooks.gateway_view import GatewayView
from hooks.numbers import number
from hooks.problems import Problem
from hooks.topics import Changes, Marks, Piece
from midjourney.decode import kept_task
from midjourney.redact import shortened
from storage import clock
from storage.engine import Connection
from storage.reading import ticket_story
from storage.reading.ticket_story import Story
from storage.records import Attempt, Submission, beginning


class Try(msgspec.Struct, frozen=True, kw_only=True):
    """A submission that was sent for the ticket, with its attempts. `request` and `answers`, by attempt, are formatted and without
    secrets."""

    submission: Submission
    attempts: tuple[Attempt, ...]
    request: str
    answers: Mapping[int, str]


class Said(msgspec.Struct, frozen=True):
    """What a message told the hook: the ticket's status and percentage. `answer`: what the hook answered."""

    status: str
    progress: str
    answer: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What the hook is told because of an event, once it was told, or has failed, or is still to come."""

    run: HookMessage
    said: tuple[Said, ...]


class TicketView(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows: what `hookchain explain` tells (`detail`), and how it is shown. Of the client's hook it has the host alone, and
    the client's `state` is not in it. `is_known`: the database has the task. `moved_from`: accounts that took nothing of the order.
    `silent`: events of which the hook needed no message of their own. Times are epoch ms."""

    ticket: TicketLine
    detail: TicketDetail
    is_known: bool
    moved_from: tuple[str, ...]
    picture: Picture | None
    answered_at_ms: int | None
    ended_at_ms: int | None
    last_told: Said | None
    tries: tuple[Try, ...]
    messages: tuple[Message, ...]
    silent: int
    is_cut: bool


class Tickets:
    """Handlers of the page."""

    def __init__(self, context: PageContext) -> None:
        self._context = context

    async def show(self, request: Request) -> Response:
        """Show the page."""
        ticket_id, at_ms = self._id_of(request), clock.now_ms()
        found = await self._context.database.read(
            lambda connection: ticket_story.story(connection, ticket_id, at_ms)
        )
        if found is None:
            raise Problem(404, f"There is no ticket {ticket_id!r}")
        return answer(
            request,
            "ticket.html",
            **self._context.frame_values("clients"),
            **asdict(view_of(found, self._context.gateway)),
            since_ms=at_ms,
        )

    def topic(self, request: Request) -> TicketTopic:
        """Return the topic of a ticket's page."""
        return TicketTopic(self._id_of(request), self._context.gateway)

    async def letter(self, request: Request, form: dict[str, str]) -> Response:
        """Retry a message to the client's hook that was given up, or drop it."""
        ticket_id, letter_id = self._id_of(request), f"delivery-{request.path_params['number']}"
        here, now_ms = f"/tickets/{ticket_id}", clock.now_ms()
        work = {"retry": dead_letters.retry, "drop": dead_letters.drop}.get(form.get("do", ""))
        if work is None:
            raise Problem(422, "Choose retry or drop")
        if work is dead_letters.drop and (
            page := confirmation_page(request, form, "Discard this for good?", back=here)
        ):
            return page

        def do(connection: Connection) -> bool:
            found = ticket_story.story(connection, ticket_id, now_ms)
            is_own = found is not None and letter_id in [f"delivery-{run.id}" for run in found.told]
            return is_own and work(connection, letter_id, now_ms)

        if not await self._context.command(do):
            raise Problem(404, "That dead letter no longer exists")
        if not is_partial(request):
            return RedirectResponse(here, 303, headers=HEADERS)
        return await self.show(request)

    def _id_of(self, request: Request) -> str:
        if not self._context.gateway.is_on:
            raise Problem(404, OFF)
        ticket_id: str = request.path_params["id"]
        if number(ticket_id) is None:
            raise Problem(404, f"There is no ticket {ticket_id!r}")
        return ticket_id


class TicketTopic:
    """The live part of the page, as one piece."""

    def __init__(self, ticket_id: str, gateway: GatewayView) -> None:
        self.key = f"ticket {ticket_id}"
        self._id = ticket_id
        self._gateway = gateway

    def changes(self, connection: Connection, known: Marks) -> Changes:
        """Return the whole story, if it has changed."""
        marks = {"ticket": ticket_story.version(connection, self._id)}
        if known == marks:
            return Changes(marks=marks, changed=[])
        found = ticket_story.story(connection, self._id, clock.now_ms())
        if found is None:
            return Changes(marks=marks, changed=[])
        view = view_of(found, self._gateway)
        return Changes(marks=marks, changed=[Piece(render=_renderer(view), changed_at_ms=_last_ms(found))])


def _renderer(view: TicketView) -> Callable[[str], str]:
    values = asdict(view)
    return lambda language: render("_changed_ticket.html", language, **values)


def _last_ms(found: Story) -> int:
    deliveries = [run.updated_at_ms for run in (*found.told, *found.answered)]
    submissions = [submission.updated_at_ms for submission in found.submissions]
    return max([*deliveries, *submissions, changed_at_ms(found.seen)])


def view_of(found: Story, gateway: GatewayView) -> TicketView:
    """Return what the page shows of a story."""
    ticket = found.ticket
    detail = story_shape(found, gateway.named(ticket.client))
    messages = _messages(detail)
    said = [one for message in messages for one in message.said]
    return TicketView(
        ticket=line_of(found.seen),
        detail=detail,
        is_known=found.seen.task is not None,
        moved_from=_moved_from(found),
        picture=_picture(found),
        answered_at_ms=ticket.answered_at_ms,
        ended_at_ms=ticket.ended_at_ms,
        last_told=said[-1] if said else None,
        tries=tuple(_try(found, submission) for submission in found.submissions),
        messages=messages,
        silent=len(found.told) - len(messages),
        is_cut=found.is_cut,
    )


def _messages(detail: TicketDetail) -> tuple[Message, ...]:
    return tuple(
        Message(run=run, said=tuple(map(_said, run.told)))
        for run in detail.messages
        if run.told or run.state != "done"
    )


def _said(note: str) -> Said:
    told, _, answer = note.partition(": ")
    status, _, progress = told.partition(" ")
    return Said(status, progress, answer)


def _picture(found: Story) -> Picture | None:
    row, task = found.seen.task, kept_task(found.seen.payload)
    if row is None or task is None or not task.image_url:
        return None
    alt = beginning(found.ticket.prompt or task.prompt) or row.action
    return Picture(upstream=row.upstream, task_id=row.id, url=task.image_url, alt=alt)


def _moved_from(found: Story) -> tuple[str, ...]:
    names = dict.fromkeys(submission.upstream for submission in found.submissions)
    return tuple(name for name in names if name != found.seen.upstream)


def _try(found: Story, submission: Submission) -> Try:
    attempts = tuple(found.attempts[submission.id])
    request = shortened(shapes.redacted_payload(submission.request))
    return Try(
        submission=submission,
        attempts=attempts,
        request=pretty(request),
        answers={attempt.number: beginning_of(attempt.answer) for attempt in attempts},
    )
