"""Reads the body of a client's request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from dispatcher.tickets.answers import REFUSED
from hooks.gateway.answering import Refused
from hooks.gateway.submits import digest_of
from midjourney.bodies import understood
from midjourney.errors import Undecodable

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

LIMIT_BYTES = 64 * 1024 * 1024


class Body(msgspec.Struct, frozen=True):
    """The fields of a body, and a digest that equal bodies share."""

    fields: Mapping[str, object]
    digest: str


class Bodies:
    """Reads bodies within limits of size."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit_bytes

    @asynccontextmanager
    async def of(self, scope: Scope, receive: Receive, path: str) -> AsyncIterator[Body]:
        """The body of a request, while the block runs. Raises `Refused`."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, REFUSED, "the body is not complete")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._limit:
                raise Refused(
                    413,
                    REFUSED,
                    f"a body may have at most {self._limit} bytes",
                    headers=[("connection", "close")],
                )
            if not message.get("more_body", False):
                break
        try:
            fields = understood(b"".join(parts)) if size else {}
        except Undecodable as error:
            raise Refused(400, REFUSED, f"the body is not JSON: {error.reason}") from error
        if not isinstance(fields, dict):
            raise Refused(400, REFUSED, "the body must be a JSON object")
        yield Body(fields, digest_of(path, fields))
