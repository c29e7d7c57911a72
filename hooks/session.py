"""Who looks at the pages: a session cookie for whoever knows the administrator's token, and a word against forgery.

A session is nothing that is kept: its cookie carries its end and is signed, by a key that changes with the secret and
with the token, so that a new token ends all sessions.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import deque
from urllib.parse import parse_qsl, urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from hooks.auth import check_admin
from hooks.problems import Problem

COOKIE = "hookchain_session"
LIFE_S = 14 * 24 * 3600

MOST_TRIES = 10
"""Wrong tokens from one address within `TRIES_S`; what comes after them is not looked at."""

TRIES_S = 60.0
_MOST_ADDRESSES = 1000

LARGEST_FORM = 12 * 1024 * 1024
"""Bytes of a form: a mask of a large picture has some hundred kB."""

FORGED = "this came from another page, or from one that is out of date: load the page again"


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Who is allowed in. `csrf` is the word that forms carry; None for programs, which no page can make send."""

    csrf: str | None


class Sessions:
    """Lets people in by the administrator's token, or from this machine while none is set."""

    def __init__(self, secret: str, admin_token: str) -> None:
        self._key = hmac.digest(secret.encode(), b"session:" + admin_token.encode(), hashlib.sha256)
        self._token = admin_token
        self._failed: dict[str, deque[float]] = {}

    @property
    def needs_login(self) -> bool:
        """Whether there is a token to be known."""
        return bool(self._token)

    def visitor(self, request: Request) -> Visitor:
        """Who asks. Raises `Problem` 401 without a session, 403 from elsewhere while no token is set."""
        if not self._token:
            check_admin(request, "")
            return Visitor(csrf=self._csrf("here"))
        if "authorization" in request.headers:
            check_admin(request, self._token)
            return Visitor(csrf=None)
        nonce = self._nonce_of(request.cookies.get(COOKIE, ""))
        if nonce is None:
            raise Problem(401, "log in first")
        return Visitor(csrf=self._csrf(nonce))

    def log_in(self, request: Request, token: str, response: Response) -> bool:
        """Put a session into the answer for whoever knows the token. Raises `Problem` 429 after too many tries."""
        address = request.client.host if request.client is not None else ""
        tries = self._tries(address)
        if len(tries) >= MOST_TRIES:
            raise Problem(429, "too many wrong tokens; wait a minute", headers={"retry-after": "60"})
        if not self._token or not hmac.compare_digest(token.encode(), self._token.encode()):
            tries.append(time.monotonic())
            self._failed[address] = tries
            return False
        nonce, until_s = secrets.token_urlsafe(18), int(time.time()) + LIFE_S
        signed = f"{until_s}.{nonce}"
        response.set_cookie(
            COOKIE,
            f"{signed}.{self._mac(f'session:{signed}')}",
            max_age=LIFE_S,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return True

    def log_out(self, response: Response) -> None:
        """Take the session away."""
        response.delete_cookie(COOKIE)

    def _tries(self, address: str) -> deque[float]:
        if len(self._failed) > _MOST_ADDRESSES:
            self._failed.clear()
        tries = self._failed.get(address, deque())
        while tries and tries[0] < time.monotonic() - TRIES_S:
            tries.popleft()
        return tries

    def _nonce_of(self, cookie: str) -> str | None:
        """The nonce of a session that is ours and has not ended."""
        signed, _, mac = cookie.rpartition(".")
        until_s, _, nonce = signed.partition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(f"session:{signed}").encode()):
            return None
        return nonce if until_s.isdigit() and int(until_s) > time.time() else None

    def _csrf(self, nonce: str) -> str:
        return self._mac(f"csrf:{nonce}")

    def _mac(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()[:40]


def check_same_site(request: Request) -> None:
    """Refuse what another site's page had the browser send. Raises `Problem` 403."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin", "")
    if site not in ("same-origin", "none") or (
        origin and urlsplit(origin).netloc != request.headers.get("host", "")
    ):
        raise Problem(403, FORGED)


def check_word(request: Request, form: dict[str, str], visitor: Visitor) -> None:
    """Refuse a form that does not carry the session's word. Raises `Problem` 403."""
    if visitor.csrf is None:
        return
    given = request.headers.get("x-csrf-token") or form.get("csrf", "")
    if not hmac.compare_digest(given.encode(), visitor.csrf.encode()):
        raise Problem(403, FORGED)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a posted form; of several of one name the last. Raises `Problem` 413 or 415."""
    kind = request.headers.get("content-type", "application/x-www-form-urlencoded").partition(";")[0]
    if kind != "application/x-www-form-urlencoded":
        raise Problem(415, "send the form as application/x-www-form-urlencoded")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM:
            raise Problem(413, f"at most {LARGEST_FORM} bytes are taken")
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=1000))
