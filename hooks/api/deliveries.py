"""/api/deliveries: which events each receiver ran for, and what it decided."""

from __future__ import annotations

from starlette.requests import Request

from hooks.api import answers, shapes
from hooks.api.answers import DeliveryPage
from hooks.api.paging import cursor_of, filters, id_cursor, page_of, row_id
from hooks.problems import Problem
from storage.engine import Database
from storage.reading import pages


class Deliveries:
    """Handlers that read one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, request: Request) -> tuple[int, DeliveryPage]:
        """List deliveries, newest first; filter by `state`, `receiver` and `event_id`."""
        most, cursor = page_of(request)
        equal: dict[str, str | int] = dict(filters(request, "state", "receiver"))
        if event_id := request.query_params.get("event_id", ""):
            equal["event_id"] = row_id(event_id)
        found = await self._database.read(
            lambda connection: pages.delivery_page(
                connection, most=most, before=id_cursor(cursor), equal=equal
            )
        )
        return 200, DeliveryPage(
            deliveries=[shapes.delivery_shape(delivery) for delivery in found],
            cursor=cursor_of(found.next),
        )

    async def get(self, request: Request) -> tuple[int, answers.Delivery]:
        """Return a delivery."""
        delivery_id = row_id(request.path_params["id"])
        found = await self._database.read(lambda connection: pages.find_delivery(connection, delivery_id))
        if found is None:
            raise Problem(404, f"There is no delivery {delivery_id}")
        return 200, shapes.delivery_shape(found)
