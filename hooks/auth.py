"""Who may do what: the token in a hook's path, and the administrator's token for the API."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.requests import Request

from hooks.guesses import Guesses
from hooks.problems import Problem


def notify_token(secret: str, upstream: str) -> str:
    """The path token of an upstream: 24 characters that nobody can guess without the secret, the same for ever."""
    digest = hmac.new(secret.encode(), f"notify:{upstream}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:18]).decode()


class NotifyTokens:
    """The upstreams by their tokens, compared in constant time."""

    def __init__(self, secret: str, upstreams: Iterable[str]) -> None:
        self.tokens = [(notify_token(secret, name).encode(), name) for name in upstreams]

    def upstream_of(self, token: str) -> str | None:
        """The upstream whose token this is, or None."""
        given = token.encode()
        found = None
        for known, name in self.tokens:  # all of them, whichever matches
            if hmac.compare_digest(known, given):
                found = name
        return found


class Admin:
    """Whoever knows the administrator's token; or, while none is set, whoever is on this machine.

    One for a process: wrong tokens are counted together, wherever they are given. `token` is "" while none is set.
    """

    def __init__(self, token: str = "") -> None:
        self.token = token
        self._guesses = Guesses()

    def check(self, request: Request) -> None:
        """Let the administrator through: by `Authorization: Bearer`, or from this machine while no token is set.

        Raises `Problem` 401, 403, or 429 after too many wrong tokens.
        """
        if not self.token:
            _check_local(request)
            return
        given = bearer_of(request)
        if given is None or not self.is_right(request, given):
            raise Problem(
                401,
                "send HOOKCHAIN_ADMIN_TOKEN as `Authorization: Bearer …`",
                headers={"www-authenticate": "Bearer"},
            )

    def is_right(self, request: Request, given: str) -> bool:
        """Whether this is the token. Raises `Problem` 429 for a wrong one when there were too many; the right one is
        always right."""
        if self.token and hmac.compare_digest(given.encode(), self.token.encode()):
            return True
        self._guesses.note(request.client.host if request.client is not None else "")
        return False


def bearer_of(request: Request) -> str | None:
    """The token that a program sends. None also for other schemes: `Basic` is what a proxy before us asks for."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else None


def netloc_of(url: str) -> str:
    """Host and port of an address, in small letters; "" of what is none, such as `http://[`."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


_OF_PROXIES = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")


def _comes_by_proxy(request: Request) -> bool:
    """Whether somebody forwards it. nginx's bare `proxy_pass` adds no header and calls us by our own address, but asks
    in HTTP/1.0 (https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_http_version), as no browser does."""
    return request.scope.get("http_version") == "1.0" or any(name in request.headers for name in _OF_PROXIES)


def _check_local(request: Request) -> None:
    # A proxy on this machine forwards strangers.
    if _comes_by_proxy(request) or request.client is None or not _is_loopback(request.client.host):
        raise Problem(403, "without HOOKCHAIN_ADMIN_TOKEN the API answers on this machine only; set one")
    # A page that somebody on this machine looks at can send requests too: its origin, or the name it found us by, is
    # not ours (cross-site requests, DNS rebinding).
    origin = request.headers.get("origin", "")
    if not names_this_machine(request.headers.get("host", "")) or (
        origin and not names_this_machine(netloc_of(origin))
    ):
        raise Problem(
            403, "without HOOKCHAIN_ADMIN_TOKEN the API answers to localhost and 127.0.0.1 only; set one"
        )


def names_this_machine(netloc: str) -> bool:
    """Whether a host, with a port or without, is this machine whoever reads it."""
    try:
        name = urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or _is_loopback(name)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
