"""GET /api/tickets: lists the tickets of the gateway's clients, and shows one with all that was done for it."""

from __future__ import annotations

from typing import get_args

from starlette.requests import Request

from hooks.api.gateway_answers import TicketDetail, TicketPage
from hooks.api.paging import age_cursor, cursor_of, filters, page_of
from hooks.api.ticket_shapes import story_shape, ticket_shape
from hooks.gateway_view import GatewayView
from hooks.problems import Problem
from storage import clock
from storage.engine import Connection, Database
from storage.reading import ticket_pages, ticket_story
from storage.reading.keyset import Page
from storage.reading.ticket_pages import HookState, TicketFilter, TicketState
from storage.records import Ticket
from storage.tickets.known import Known, known

STATES: tuple[TicketState, ...] = get_args(TicketState)
HOOK_STATES: tuple[HookState, ...] = get_args(HookState)


class Tickets:
    """Handlers that read one database."""

    def __init__(self, database: Database, gateway: GatewayView) -> None:
        self._database = database
        self._gateway = gateway

    async def list(self, request: Request) -> tuple[int, TicketPage]:
        """List tickets, newest first; filter by `client`, `state`, `upstream` and `hook`."""
        most, cursor = page_of(request)
        wanted, before = wanted_in(request), age_cursor(cursor)

        def read(connection: Connection) -> tuple[Page[Ticket], list[Known]]:
            page = ticket_pages.ticket_page(connection, most=most, before=before, wanted=wanted)
            return page, known(connection, page, clock.now_ms())

        page, seen = await self._database.read(read)
        named = self._gateway.named
        return 200, TicketPage(
            tickets=[ticket_shape(one, named(one.ticket.client)) for one in seen],
            cursor=cursor_of(page.next),
        )

    async def get(self, request: Request) -> tuple[int, TicketDetail]:
        """Return a ticket with its submissions, their tries, and the messages to its hook."""
        ticket_id = request.path_params["id"]
        found = await self._database.read(
            lambda connection: ticket_story.story(connection, ticket_id, clock.now_ms())
        )
        if found is None:
            raise Problem(404, f"There is no ticket {ticket_id!r}")
        return 200, story_shape(found, self._gateway.named(found.ticket.client))


def wanted_in(request: Request) -> TicketFilter:
    """Return the filter in the query. Raises `Problem` 422 for a state that no ticket can have."""
    given = filters(request, "client", "state", "upstream", "hook")
    state = next((one for one in STATES if one == given.get("state")), None)
    hook = next((one for one in HOOK_STATES if one == given.get("hook")), None)
    if "state" in given and state is None:
        raise Problem(422, f"state must be one of {', '.join(STATES)}")
    if "hook" in given and hook is None:
        raise Problem(422, f"hook must be one of {', '.join(HOOK_STATES)}")
    return TicketFilter(
        client=given.get("client", ""),
        state=state or "",
        upstream=given.get("upstream", ""),
        hook=hook or "",
    )
