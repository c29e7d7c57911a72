"""/api/chains: lists chains, and shows one with its tasks and submissions."""

from __future__ import annotations

import msgspec
from starlette.requests import Request

from hooks.api import shapes
from hooks.api.answers import ChainDetail, ChainPage
from hooks.api.paging import age_cursor, cursor_of, filters, page_of
from hooks.problems import Problem
from storage import clock
from storage.deliveries import chain_stores
from storage.engine import Connection, Database
from storage.reading import pages, ticket_pages
from storage.tasks import chains


class Chains:
    """Handlers that read one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, request: Request) -> tuple[int, ChainPage]:
        """List chains, newest first; filter by `upstream`."""
        most, cursor = page_of(request)
        equal = filters(request, "upstream")
        rows = await self._database.read(
            lambda connection: pages.chain_page(connection, most=most, before=age_cursor(cursor), equal=equal)
        )
        return 200, ChainPage(
            chains=[shapes.chain_shape(row) for row in rows],
            cursor=cursor_of(rows.next),
        )

    async def get(self, request: Request) -> tuple[int, ChainDetail]:
        """Return a chain with its tasks and submissions, oldest first: enough to draw the tree."""
        chain_id, now_ms = request.path_params["id"], clock.now_ms()

        def read(connection: Connection) -> ChainDetail | None:
            chain = chains.find(connection, chain_id)
            if chain is None:
                return None
            rows = pages.tasks_of_chain(connection, chain_id)
            payloads = pages.latest_payloads(connection, rows)
            made = pages.submissions_of_chain(connection, chain_id)
            content = chain_stores.find(connection, chain_id).content
            return shapes.extended(
                ChainDetail,
                shapes.chain_shape(chain),
                untold=chains.count_undelivered(connection, chain_id, now_ms),
                tasks=[shapes.task_shape(row, payloads.get((row.upstream, row.id), b"")) for row in rows],
                submissions=[shapes.submission_shape(submission) for submission in made],
                tickets=[ticket.id for ticket in ticket_pages.tickets_of_chain(connection, chain_id)],
                store=msgspec.json.decode(content, type=dict[str, object]),
            )

        chain = await self._database.read(read)
        if chain is None:
            raise Problem(404, f"There is no chain {chain_id!r}")
        return 200, chain
