"""Ways to lose an answer: the connection is closed or reset without a word, or ends within one; a gateway gives up; silence."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any, Literal

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Loss = Literal["lost", "closed", "reset", "502", "504", "silence"]

Break = Callable[[Literal["closed", "reset"]], None]
"""Ends the connection of a request; it stands in the request's scope, by this name."""
BREAK = "hostile.break"

GATEWAY = {"502": "Bad Gateway", "504": "Gateway Time-out"}


class Lost(Response):
    """No answer, in one of the ways. `background` runs when it has been lost, or at once where the sender is left to wait."""

    def __init__(self, how: Loss, background: Any = None) -> None:
        is_gateway = how in GATEWAY
        super().__init__(
            f"<html>{how} {GATEWAY[how]}</html>" if is_gateway else b"",
            int(how) if is_gateway else 200,
            media_type="text/html",
            background=background,
        )
        self._how = how

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._how in GATEWAY:
            await super().__call__(scope, receive, send)
            return
        if self._how == "lost":
            # The head promises a body, and the connection ends instead.
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]}
            )
        if self._how != "silence":
            scope[BREAK]("reset" if self._how == "reset" else "closed")
        if self.background is not None:
            await self.background()
        while (await receive())["type"] != "http.disconnect":
            pass


def protocol(transports: dict[tuple[str, int], Any]) -> type[HttpToolsProtocol]:
    """uvicorn's protocol, which keeps the connections that are open by their other ends."""

    class Kept(HttpToolsProtocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if self.client is not None:
                transports[self.client] = transport

        def connection_lost(self, exc: Exception | None) -> None:
            if self.client is not None:
                transports.pop(self.client, None)
            super().connection_lost(exc)

    return Kept


def breaking(transports: Mapping[tuple[str, int], Any], client: Any) -> Break:
    """What ends one of these connections."""

    def end(how: Literal["closed", "reset"]) -> None:
        transport = transports.get(tuple(client))
        if transport is None:
            return  # its other end was quicker
        if how == "reset":
            # No lingering: the system sends RST instead of FIN.
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        transport.abort()

    return end
