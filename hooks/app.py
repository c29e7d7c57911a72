"""The ASGI application: callbacks ahead of the router, everything else through Starlette."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from hooks import ingest
from hooks.dashboard.errors import NO_PAGE, NO_WAY, told, wants_page
from hooks.problems import Problem
from storage.errors import NotDurable


class Lifespan(Protocol):
    """What starts before the first request and stops after the last."""

    def __call__(self, app: Starlette) -> AbstractAsyncContextManager[None]:
        """The context the server runs in."""
        ...


def create_app(hook: ASGIApp, routes: Sequence[BaseRoute], lifespan: Lifespan | None = None) -> ASGIApp:
    """Put the endpoint of callbacks before a Starlette application with all other routes."""
    app = Starlette(
        routes=list(routes),
        lifespan=lifespan,
        exception_handlers={HTTPException: _http_error, NotDurable: _unavailable, Exception: _unexpected},
    )

    async def entry(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(ingest.PREFIX):
            await hook(scope, receive, send)
        else:
            await app(scope, receive, send)

    return entry


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers: Any = error.headers
    if wants_page(request):
        detail = {404: NO_PAGE, 405: NO_WAY}.get(error.status_code, error.detail)
        return told(request, Problem(error.status_code, detail, headers=dict(headers or {})))
    return Problem(error.status_code, error.detail, headers=dict(headers or {})).response()


async def _unavailable(_request: Request, error: Exception) -> Response:
    """The database is away; it will be back."""
    detail = f"the database cannot be used at the moment: {error}"
    return Problem(503, detail, headers={"retry-after": "5"}).response()


async def _unexpected(_request: Request, _error: Exception) -> Response:
    """Starlette raises the error again behind this answer, so that it is logged."""
    return Problem(500, "something unexpected happened; the log of the server has it").response()
