"""The ASGI application: callbacks bypass the router, everything else goes through Starlette."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from hooks import ingest
from hooks.dashboard.errors import FORMS_ONLY, NO_PAGE, UNEXPECTED, error_response, unavailable, wants_page
from hooks.gateway.paths import place_of
from hooks.headers import SafeHeaders
from hooks.problems import Problem
from storage.errors import NotDurable


class Lifespan(Protocol):
    """Starts services before the first request and stops them after the last."""

    def __call__(self, app: Starlette) -> AbstractAsyncContextManager[None]:
        """Return the context in which the server runs."""
        ...


def create_app(
    hook: ASGIApp,
    routes: Sequence[BaseRoute],
    lifespan: Lifespan | None = None,
    *,
    public_url: str = "",
    gateway: ASGIApp | None = None,
) -> ASGIApp:
    """Put the callback endpoint and the gateway in front of a Starlette application with all other routes. `public_url` is the address that
    people use, whatever a proxy reports; "" if it is not known."""
    app = Starlette(
        routes=list(routes),
        lifespan=lifespan,
        exception_handlers={HTTPException: _http_error, NotDurable: _unavailable, Exception: _unexpected},
    )
    # Starlette would redirect to whatever host the request names.
    app.router.redirect_slashes = False
    others = SafeHeaders(app, public_url=public_url)
    clients = SafeHeaders(gateway, public_url=public_url) if gateway is not None else None

    async def entry(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and ingest.is_hook(scope["path"]):
            await hook(scope, receive, send)
        elif clients is not None and scope["type"] == "http" and place_of(scope["path"]) is not None:
            await clients(scope, receive, send)
        else:
            await others(scope, receive, send)

    return entry


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if wants_page(request):
        detail = {404: NO_PAGE, 405: FORMS_ONLY}.get(error.status_code, error.detail)
        return error_response(request, Problem(error.status_code, detail, headers=headers))
    return Problem(error.status_code, error.detail, headers=headers).response()


async def _unavailable(_request: Request, error: Exception) -> Response:
    return unavailable(error).response()


async def _unexpected(_request: Request, _error: Exception) -> Response:
    """Starlette raises the error again after this response, so it is logged."""
    return Problem(500, UNEXPECTED).response()
