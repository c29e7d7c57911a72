"""Who looks at the pages: a session cookie for whoever knows the administrator's token, and a word against forgery.

A session is nothing that is kept: its cookie carries its end and is signed, by a key that changes with the secret and
with the token, so that a new token ends all sessions.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from hooks.auth import Admin, bearer_of, netloc_of
from hooks.problems import Problem

COOKIE = "hookchain_session"
LIFE_S = 14 * 24 * 3600

LARGEST_FORM = 12 * 1024 * 1024
"""Bytes of a form: a mask of a large picture has some hundred kB."""

LARGEST_LOGIN = 8 * 1024
"""Bytes of the form that strangers may send."""

MOST_FIELDS = 1000

_AT_ONCE = 64 * 1024
"""Bytes of a form that are taken apart at once; a larger one in a thread, since all of 12 MB takes a second."""

FORGED = "this came from another page, or from one that is out of date: load the page again"


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Who is allowed in. `csrf` is the word that forms carry; None for programs, which no page can make send."""

    csrf: str | None


class Sessions:
    """Lets people in by the administrator's token, or from this machine while none is set. `public_url` is the address
    that people use, "" where it is not known."""

    def __init__(self, secret: str, admin: Admin, public_url: str = "") -> None:
        self._key = hmac.digest(secret.encode(), b"session:" + admin.token.encode(), hashlib.sha256)
        self._admin = admin
        self._public_host = netloc_of(public_url)
        self._is_public_tls = public_url.lower().startswith("https://")

    @property
    def needs_login(self) -> bool:
        """Whether there is a token to be known."""
        return bool(self._admin.token)

    def visitor(self, request: Request) -> Visitor:
        """Who asks. Raises `Problem` 401 without a session, 403 from elsewhere while no token is set, 429 after too many
        wrong tokens."""
        if not self._admin.token:
            self._admin.check(request)
            return Visitor(csrf=self._csrf("here"))
        if bearer_of(request) is not None:
            self._admin.check(request)
            return Visitor(csrf=None)
        nonce = self._nonce_of(request.cookies.get(COOKIE, ""))
        if nonce is None:
            raise Problem(401, "log in first")
        return Visitor(csrf=self._csrf(nonce))

    def check_site(self, request: Request) -> None:
        """Refuse what another site's page had the browser send. Raises `Problem` 403.

        `Sec-Fetch-Site` is the browser's own word, and decides alone: behind a proxy `Host` may be any name. Browsers
        leave it out where there is neither TLS nor localhost, and programs always.
        """
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin", "")
        if site is not None:
            is_ours = site in ("same-origin", "none")
        else:
            ours = {request.headers.get("host", "").lower(), self._public_host} - {""}
            is_ours = not origin or netloc_of(origin) in ours
        if not is_ours:
            raise Problem(403, FORGED)

    def log_in(self, request: Request, token: str, response: Response) -> bool:
        """Put a session into the answer for whoever knows the token. Raises `Problem` 429 after too many wrong ones."""
        if not self._admin.is_right(request, token):
            return False
        nonce, until_s = secrets.token_urlsafe(18), int(time.time()) + LIFE_S
        signed = f"{until_s}.{nonce}"
        response.set_cookie(
            COOKIE,
            f"{signed}.{self._mac(f'session:{signed}')}",
            max_age=LIFE_S,
            httponly=True,
            samesite="lax",
            secure=self._is_tls(request),
        )
        return True

    def log_out(self, response: Response) -> None:
        """Take the session away."""
        response.delete_cookie(COOKIE)

    def _is_tls(self, request: Request) -> bool:
        """Whether the browser speaks TLS: to us, or to a proxy before us, whether or not its headers are believed."""
        if request.scope["scheme"] == "https" or request.headers.get("origin", "").startswith("https://"):
            return True
        return self._is_public_tls and request.headers.get("host", "").lower() == self._public_host

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


def check_word(request: Request, form: dict[str, str], visitor: Visitor) -> None:
    """Refuse a form that does not carry the session's word. Raises `Problem` 403."""
    if visitor.csrf is None:
        return
    given = request.headers.get("x-csrf-token") or form.get("csrf", "")
    if not hmac.compare_digest(given.encode(), visitor.csrf.encode()):
        raise Problem(403, FORGED)


async def form_of(request: Request, *, largest: int = LARGEST_FORM) -> dict[str, str]:
    """The fields of a posted form; of several of one name the last. Raises `Problem` 400, 413, 415 or 422."""
    kind = request.headers.get("content-type", "application/x-www-form-urlencoded").partition(";")[0]
    if kind.strip().lower() != "application/x-www-form-urlencoded":
        raise Problem(415, "send the form as application/x-www-form-urlencoded")
    body = bytearray()
    try:
        async for chunk in request.stream():
            if len(body) + len(chunk) > largest:
                raise Problem(413, f"at most {largest} bytes are taken")
            body += chunk
    except ClientDisconnect as error:
        raise Problem(400, "the form did not come whole") from error
    if len(body) <= _AT_ONCE:
        return _fields(body)
    return await asyncio.to_thread(_fields, body)


def _fields(body: bytearray) -> dict[str, str]:
    try:
        return dict(
            parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
        )
    except ValueError as error:
        raise Problem(422, f"a form has at most {MOST_FIELDS} fields") from error
