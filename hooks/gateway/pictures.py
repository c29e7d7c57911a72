"""Serves the pictures of tickets at addresses of ours, without a key: the address is the key. Browsers of other origins may read them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from starlette.responses import Response

from dispatcher.tickets.answers import FAILED, NOT_FOUND
from dispatcher.tickets.views import PictureAddresses
from hooks.gateway.answering import Refused
from storage import clock
from storage.engine import Connection, Database
from storage.tickets import tickets
from storage.tickets.known import Known, known

Serve = Callable[[str, str, str | None], Awaitable[Response]]
"""Returns the response with the picture of a task, by its upstream and id, in its original size or with a width."""


_WHY_NOT = {
    404: "the upstream does not have the picture any more",
    415: "it is not a picture that can be shown",
    422: "width must be 192, 384 or 768; leave it out for the original",
    502: "the picture cannot be had from the upstream now",
    503: "too many pictures are being loaded: try again",
}


class Pictures:
    """The handler of `image/{ticket}-{mark}.png`."""

    def __init__(self, database: Database, addresses: PictureAddresses, serve: Serve) -> None:
        self._database = database
        self._addresses = addresses
        self._serve = serve

    async def get(self, name: str, query: bytes) -> Response:
        """The picture; `?width=384` asks for a smaller one. Raises `Refused`."""
        ticket_id = self._addresses.ticket_in(name)
        seen = (
            await self._database.read(lambda connection: _known(connection, ticket_id)) if ticket_id else None
        )
        if seen is None or seen.task is None:
            raise Refused(404, NOT_FOUND, "there is no such picture")
        width = parse_qs(query.decode("latin-1")).get("width", [None])[0]
        response = await self._serve(seen.upstream, seen.task.id, width)
        if why := _WHY_NOT.get(response.status_code):
            raise Refused(response.status_code, FAILED, why)  # the response may name the upstream's address
        response.headers["cross-origin-resource-policy"] = "cross-origin"
        return response


def _known(connection: Connection, ticket_id: str) -> Known | None:
    ticket = tickets.by_id(connection, ticket_id)
    return known(connection, [ticket], clock.now_ms())[0] if ticket is not None else None
