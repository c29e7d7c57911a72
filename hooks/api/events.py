"""/api/events: lists events, and replays one."""

from __future__ import annotations

import msgspec
from starlette.requests import Request

from hooks.api import answers, shapes
from hooks.api.answers import EventPage, Replayed
from hooks.api.decode import decode_body
from hooks.api.paging import cursor_of, filters, id_cursor, page_of, row_id
from hooks.problems import Problem
from storage import clock
from storage.deliveries.giving_again import give_again
from storage.engine import Database
from storage.events import replay
from storage.reading import pages


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to replay an event. With `force`, whatever its receivers submit is submitted, and paid for, again. `only` names the one
    receiver that gets it, such as "rule:NAME/forward"; otherwise all of them get it."""

    force: bool = False
    only: str = ""


class Events:
    """Handlers for events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, request: Request) -> tuple[int, EventPage]:
        """List events, newest first; filter by `task_id`, `upstream`, `submission_id`, `signal`, `source` and `provenance`."""
        most, cursor = page_of(request)
        equal = filters(request, "task_id", "upstream", "submission_id", "signal", "source", "provenance")
        found = await self._database.read(
            lambda connection: pages.event_page(connection, most=most, before=id_cursor(cursor), equal=equal)
        )
        return 200, EventPage(
            events=[shapes.event_shape(event) for event in found],
            cursor=cursor_of(found.next),
        )

    async def get(self, request: Request) -> tuple[int, answers.Event]:
        """Return an event."""
        event_id = row_id(request.path_params["id"])
        event = await self._database.read(lambda connection: pages.find_event(connection, event_id))
        if event is None:
            raise Problem(404, f"There is no event {event_id}")
        return 200, shapes.event_shape(event)

    async def replay(self, request: Request) -> tuple[int, Replayed]:
        """Run a stored event through rules and plugins again: 202 with the id of the new event."""
        event_id = row_id(request.path_params["id"])
        options = await decode_body(request, ReplayOptions, example='{"force": true}, or nothing')
        now_ms = clock.now_ms()
        try:
            made = await self._database.write(
                "command",
                lambda connection: (
                    give_again(connection, event_id, options.only, force=options.force, now_ms=now_ms)
                    if options.only
                    else replay.replay(connection, event_id, force=options.force, now_ms=now_ms)
                ),
            )
        except ValueError as error:
            raise Problem(422, str(error)) from error
        if made is None:
            raise Problem(404, f"There is no event {event_id}")
        self._database.wakeups.wake("events")
        return 202, Replayed(event=event_id, replayed_as=made[1], forced=options.force)
