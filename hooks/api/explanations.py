"""/api/explain: the history of a task, or of a ticket and its task."""

from __future__ import annotations

import msgspec
from starlette.requests import Request

from dispatcher.policy.costs import Prices
from hooks.api import shapes
from hooks.api.approvals import approval_shape
from hooks.api.gateway_answers import Explained
from hooks.api.ticket_shapes import story_shape
from hooks.gateway_view import GatewayView
from hooks.problems import Problem
from storage import clock
from storage.engine import Connection, Database
from storage.reading import approval_pages, explanation, pages, ticket_story


class Explanations:
    """The handler of /api/explain."""

    def __init__(self, database: Database, gateway: GatewayView, prices: Prices) -> None:
        self._database = database
        self._prices = prices
        self._gateway = gateway

    async def explain(self, request: Request) -> tuple[int, Explained]:
        """Return the history of a ticket or a task. `upstream` is needed if several upstreams have a task with this id."""
        given, upstream = request.path_params["id"], request.query_params.get("upstream", "")
        if not upstream and (of_ticket := await self._database.read(lambda c: self._of_ticket(c, given))):
            return 200, of_ticket
        upstreams = [upstream] if upstream else await self._upstreams_of(given)
        if len(upstreams) > 1:
            raise Problem(
                422,
                f"Several upstreams have a task {given!r}; name one as `upstream`: {', '.join(upstreams)}",
            )
        found = None
        if upstreams:
            found = await self._database.read(lambda c: self._of_task(c, upstreams[0], given))
        if found is None:
            raise Problem(404, f"There is no task or ticket {given!r}")
        return 200, found

    async def _upstreams_of(self, task_id: str) -> list[str]:
        return await self._database.read(lambda connection: pages.upstreams_of_task(connection, task_id))

    def _of_task(self, connection: Connection, upstream: str, task_id: str) -> Explained | None:
        """The history of a task, with the approvals that it led to; None if there is no such task."""
        found = explanation.explained(connection, upstream, task_id)
        if found is None:
            return None
        asked = approval_pages.of_task(connection, found.task)
        approvals = [approval_shape(one, self._prices) for one in asked] or msgspec.UNSET
        return shapes.extended(Explained, shapes.explained_shape(found), approvals=approvals)

    def _of_ticket(self, connection: Connection, ticket_id: str) -> Explained | None:
        """The story of a ticket, with the history of its task; None if there is no such ticket."""
        story = ticket_story.story(connection, ticket_id, clock.now_ms())
        if story is None:
            return None
        ticket = story_shape(story, self._gateway.named(story.ticket.client))
        row = story.seen.task
        found = self._of_task(connection, row.upstream, row.id) if row is not None else None
        if found is not None:
            return msgspec.structs.replace(found, ticket=ticket)
        return Explained(
            task=None,
            made_by=None,
            events=shapes.explained_events(story.events, pages.deliveries_of(connection, story.events)),
            is_cut=story.is_cut,
            asked_for=[],
            ticket=ticket,
        )
