"""Headers of every response, whichever part of the application makes it, except to callbacks, which no browser sees."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HSTS = "max-age=31536000"
"""Browsers then use only TLS for this host for a year. The rule holds for all ports of the host (RFC 6797, 8.3), so a server on a
non-default port does not send it: what others serve on that host may have no TLS. Without TLS browsers ignore it (8.1)."""


class SafeHeaders:
    """Adds headers that responses do not set themselves: no caching, no guessing of the content type."""

    def __init__(self, app: ASGIApp, *, public_url: str = "") -> None:
        self._app = app
        self._public_url = public_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request as an ASGI application."""
        has_tls = _is_https_on_443(self._public_url or _request_url(scope))

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("x-content-type-options", "nosniff")
                headers.setdefault("cache-control", "no-store")
                if has_tls:
                    headers["strict-transport-security"] = HSTS
            await send(message)

        await self._app(scope, receive, send_safely)


def _request_url(scope: Scope) -> str:
    """Return the address that the browser requested, as far as the request shows it."""
    return f"{scope.get('scheme', 'http')}://{Headers(scope=scope).get('host', '')}"


def _is_https_on_443(url: str) -> bool:
    """True for an https address on the default port."""
    try:
        parts = urlsplit(url)
        return parts.scheme.lower() == "https" and parts.port in (None, 443)
    except ValueError:
        return False
