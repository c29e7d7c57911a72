"""Serves the pictures of tickets at addresses of ours, without a key: the address is the key. Browsers of other origins may read them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.responses import Response

from dispatcher.tickets.answers import NOT_FOUND
from dispatcher.tickets.views import PictureAddresses
from hooks.gateway.answering import Refused
from midjourney.image_data import BadImage, image_of_bytes
from storage import clock
from storage.engine import Connection, Database
from storage.tickets import tickets
from storage.tickets.known import Known, known

Serve = Callable[[str, str], Awaitable[Response]]
"""Returns the response with the picture of a task, by its upstream and id."""

_HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cache-control": "public, max-age=86400",
}


class Kept(Protocol):
    """Pictures that are kept here."""

    async def get(self, upstream: str, task_id: str) -> bytes | None:
        """The original picture of a task, or None."""
        ...


class Pictures:
    """The handler of `image/{ticket}-{mark}.png`. `serve` fetches what is not kept."""

    def __init__(
        self, database: Database, addresses: PictureAddresses, serve: Serve, kept: Kept | None = None
    ) -> None:
        self._database = database
        self._addresses = addresses
        self._serve = serve
        self._kept = kept

    async def get(self, name: str) -> Response:
        """The picture. Raises `Refused` 404."""
        ticket_id = self._addresses.ticket_in(name)
        seen = (
            await self._database.read(lambda connection: _known(connection, ticket_id)) if ticket_id else None
        )
        if seen is None or seen.task is None:
            raise Refused(404, NOT_FOUND, "there is no such picture")
        data = await self._kept.get(seen.upstream, seen.task.id) if self._kept is not None else None
        if data is not None:
            try:
                media_type = image_of_bytes(data, what="the kept picture").media_type
            except BadImage as error:
                raise Refused(404, NOT_FOUND, str(error)) from error
            return Response(data, media_type=media_type, headers=_HEADERS)
        response = await self._serve(seen.upstream, seen.task.id)
        response.headers["cross-origin-resource-policy"] = "cross-origin"
        return response


def _known(connection: Connection, ticket_id: str) -> Known | None:
    ticket = tickets.by_id(connection, ticket_id)
    return known(connection, [ticket], clock.now_ms())[0] if ticket is not None else None
