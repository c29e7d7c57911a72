"""Checks the administrator's token for the API and the dashboard."""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.requests import Request

from hooks.cross_origin import SAFE_METHODS, netloc_of, sender_of
from hooks.login_attempts import LoginAttempts
from hooks.logins import Logins
from hooks.problems import Problem
from hooks.strength import is_weak

CURE = "If others use this server, set HOOKCHAIN_PUBLIC_URL or HOOKCHAIN_ADMIN_TOKEN."


class Admin:
    """Recognises the administrator by the token or, if no token is needed, by a request from this machine.

    There is one for each process, so wrong tokens are counted together wherever they are sent.
    """

    def __init__(self, logins: Logins | None = None) -> None:
        self._logins = logins
        self._attempts = LoginAttempts()

    @property
    def token(self) -> str:
        """The token; "" if none is needed."""
        return self._logins.token if self._logins is not None else ""

    def check(self, request: Request) -> None:
        """Let the administrator through: by `Authorization: Bearer`, or from this machine if no token is set.

        Raises `Problem` 401, 403, or 429 after too many wrong tokens.
        """
        if not self.token:
            _check_local(request)
            return
        given = bearer_of(request)
        if given is None or not self.is_right(request, given):
            raise Problem(
                401,
                "Send the administrator's token as `Authorization: Bearer …`; on the server, `hookchain token` prints it",
                headers={"www-authenticate": "Bearer"},
            )

    def is_right(self, request: Request, given: str) -> bool:
        """True if `given` is the token. Raises `Problem` 429 for a wrong token if there were too many.

        The right token never has to wait, unless it is weak: then only waiting stops somebody who guesses.
        """
        address = request.client.host if request.client is not None else ""
        if self.token and is_weak(self.token):
            self._attempts.check(address)
        if self.token and hmac.compare_digest(given.encode(), self.token.encode()):
            return True
        self._attempts.note(address)
        return False

    def note_wrong_token(self, request: Request) -> None:
        """Count an invalid login link as a wrong token. Raises `Problem` 429 if there were too many."""
        self._attempts.note(request.client.host if request.client is not None else "")


def bearer_of(request: Request) -> str | None:
    """Return the token that a program sends; None for other schemes too, since a proxy in front of us may require `Basic`."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else None


_PROXY_HEADER_PREFIXES = (
    "forwarded", "x-forwarded", "x-real-ip", "via", "x-client-ip", "x-cluster-client-ip", "x-original-", "x-envoy-",
    "x-proxy", "cf-", "cdn-loop", "true-client-ip", "fastly-",
)  # fmt: skip
"""Prefixes of headers that proxies add: nginx, Apache, Caddy, Envoy, Cloudflare, Fastly, Akamai and IIS."""


def _is_proxied(request: Request) -> bool:
    """True if a proxy visibly forwarded the request. nginx before 1.29.7 forwards as HTTP/1.0, which no browser uses."""
    return request.scope.get("http_version") == "1.0" or any(
        name.startswith(_PROXY_HEADER_PREFIXES) for name in request.headers
    )


def _check_local(request: Request) -> None:
    """Refuse requests from elsewhere. Used only where nobody else can reach the server (hookchain/exposure.py), because a request
    alone does not show where it comes from."""
    if _is_proxied(request) or request.client is None or not is_loopback(request.client.host):
        raise Problem(403, f"Without an administrator's token this server answers this machine only. {CURE}")
    # A page that is open in a browser on this machine can send requests too. Its origin, or the host name that it uses for us,
    # is not ours (cross-site requests, DNS rebinding). The origin of another program on this machine has another port.
    host, origin = request.headers.get("host", "").lower(), request.headers.get("origin", "")
    is_foreign = origin and netloc_of(origin) != host
    is_forged = request.method not in SAFE_METHODS and sender_of(request, {host}) == "other origin"
    if not names_this_machine(host) or is_foreign or is_forged:
        raise Problem(
            403,
            "Without an administrator's token this server answers programs and its own pages only, at localhost or"
            f" 127.0.0.1. {CURE}",
        )


def names_this_machine(netloc: str) -> bool:
    """True if a host, with or without a port, means this machine on every machine: localhost or a loopback address."""
    try:
        name = urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or is_loopback(name)


def is_loopback(host: str) -> bool:
    """True for loopback IP addresses; False for names."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
