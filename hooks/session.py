"""Controls access to the pages: a session cookie for whoever knows the administrator's token, and the check against forged forms.

A session's cookie holds its end and a signature. The key depends on the secret and on the token, so a new token ends all
sessions. The database keeps only which sessions were ended by logging out. A login link is made the same way and ends with its
first use.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from hooks.auth import Admin, bearer_of
from hooks.cross_origin import SAFE_METHODS, Sender, netloc_of, sender_of
from hooks.logins import LINK_LIFE_S, Logins, key_of, signature
from hooks.problems import Problem
from storage import clock

COOKIE = "hookchain_session"
HOST_COOKIE = f"__Host-{COOKIE}"
"""The cookie's name with TLS: a browser accepts it only from this very host and by TLS, so no page of a neighbouring host can set
it."""

LIFE_S = 14 * 24 * 3600

LARGEST_FORM = 12 * 1024 * 1024
"""Largest form in bytes: the mask of a large picture takes a few hundred kB."""

LARGEST_LOGIN = 8 * 1024
"""Largest login form in bytes, the only form that strangers may send."""

MOST_FIELDS = 1000

_PARSED_INLINE_BYTES = 64 * 1024
"""Largest form, in bytes, that is parsed in the event loop. A thread parses larger ones, since 12 MB take a second."""

# Each message is one literal because it is also a key of the translation catalogues.
FROM_ELSEWHERE = "A page of another site, or of this server under another address, sent this. Reload this page and try again."
FROM_UNKNOWN = "No header says which page sent this. Update your browser, or have your proxy pass on Sec-Fetch-Site and Origin. Programs must send a Bearer token."


class Sessions:
    """Lets people in by the administrator's token, or from this machine if none is set. `public_url` is the address that people
    use, "" if it is not known."""

    def __init__(self, secret: str, admin: Admin, logins: Logins, public_url: str = "") -> None:
        self._secret = secret
        self._admin = admin
        self._logins = logins
        self._public_host = netloc_of(public_url)
        self._is_public_tls = public_url.lower().startswith("https://")

    @property
    def needs_login(self) -> bool:
        """True if an administrator's token is set."""
        return bool(self._admin.token)

    async def check(self, request: Request) -> None:
        """Let through people who have logged in, programs that send the token and, if no token is set, this machine.

        A request that changes something must also come from one of our pages, because the browser adds the cookie, and this
        machine's address, to whatever any page makes it send. Raises `Problem` 401 without a session, 403 for a request from
        elsewhere, 429 after too many wrong tokens; and `NotDurable`.
        """
        sender = self.check_sender(request)
        if bearer_of(request) is not None and self._admin.token:
            self._admin.check(request)
            return
        await self._check_session(request)
        if sender == "unknown" and request.method not in SAFE_METHODS:
            raise Problem(403, FROM_UNKNOWN)

    def check_sender(self, request: Request) -> Sender:
        """Refuse a request that another page made the browser send, unless it changes nothing. Raises `Problem` 403."""
        sender = sender_of(request, {request.headers.get("host", "").lower(), self._public_host} - {""})
        if sender == "other origin" and request.method not in SAFE_METHODS:
            raise Problem(403, FROM_ELSEWHERE)
        return sender

    async def _check_session(self, request: Request) -> None:
        if not self._admin.token:
            self._admin.check(request)
            return
        session = self._session_in(request)
        if session is None or await self._logins.has_ended(session.nonce):
            raise Problem(401, "Log in first")

    def log_in(self, request: Request, token: str, response: Response) -> bool:
        """Add a session cookie to `response` if `token` is right; return whether it was. Raises `Problem` 429 after too many wrong
        tokens."""
        if not self._admin.is_right(request, token):
            return False
        self._set_cookie(request, response)
        return True

    async def log_in_by_link(self, request: Request, code: str, response: Response) -> bool:
        """Add a session cookie to `response` if `code` is that of an unused link, and use up the link; return whether it was.
        Raises `Problem` 429 after too many wrong tokens, and `NotDurable`."""
        key = key_of(self._secret, self._admin.token)
        link = _signed(key, "link", code)
        if link is None or not await self._logins.end(link.nonce, link.until_ms):
            self._admin.note_wrong_token(request)
            return False
        self._set_cookie(request, response)
        return True

    async def log_out(self, request: Request, response: Response) -> None:
        """End the session on all servers and delete its cookie. Raises `NotDurable`."""
        session = self._session_in(request)
        if session is not None:
            await self._logins.end(session.nonce, session.until_ms)
        response.delete_cookie(COOKIE)
        response.delete_cookie(HOST_COOKIE, secure=True)

    def _set_cookie(self, request: Request, response: Response) -> None:
        is_tls = self._is_tls(request)
        name = HOST_COOKIE if is_tls else COOKIE
        response.set_cookie(
            name,
            _sign(key_of(self._secret, self._admin.token), name, LIFE_S),
            max_age=LIFE_S,
            httponly=True,
            samesite="lax",
            secure=is_tls,
        )

    def _session_in(self, request: Request) -> _Signed | None:
        """Return the session of a valid cookie, or None. With TLS the plain cookie is ignored, because a neighbouring host's page
        may have set it, or others may have read it on an open connection. If TLS is not visible, a proxy may hide it, so either
        cookie is accepted."""
        key = key_of(self._secret, self._admin.token)
        names = (HOST_COOKIE,) if self._is_tls(request) else (HOST_COOKIE, COOKIE)
        sessions = (_signed(key, name, request.cookies.get(name, "")) for name in names)
        return next((session for session in sessions if session is not None), None)

    def _is_tls(self, request: Request) -> bool:
        """True if the browser uses TLS, to us or to a proxy in front of us, even if we do not trust the proxy's headers."""
        if request.scope["scheme"] == "https" or request.headers.get("origin", "").startswith("https://"):
            return True
        return self._is_public_tls and request.headers.get("host", "").lower() == self._public_host


class _Signed(msgspec.Struct, frozen=True):
    """The content of a session's cookie or a login link: its name, and when it ends."""

    nonce: str
    until_ms: int


def login_code(secret: str, token: str) -> str:
    """Return the code for a link that logs in once, within `LINK_LIFE_S`."""
    return _sign(key_of(secret, token), "link", LINK_LIFE_S)


def _sign(key: bytes, purpose: str, life_s: int) -> str:
    signed = f"{clock.now_ms() // 1000 + life_s}.{secrets.token_urlsafe(18)}"
    return f"{signed}.{signature(key, f'{purpose}:{signed}')}"


def _signed(key: bytes, purpose: str, text: str) -> _Signed | None:
    """Return what was signed for this purpose if it has not ended; None for anything else."""
    signed, _, given = text.rpartition(".")
    until_s, _, nonce = signed.partition(".")
    if not hmac.compare_digest(given.encode(), signature(key, f"{purpose}:{signed}").encode()):
        return None
    until_ms = 1000 * int(until_s)
    return _Signed(nonce, until_ms) if until_ms > clock.now_ms() else None


async def form_of(request: Request, *, largest: int = LARGEST_FORM) -> dict[str, str]:
    """Return the fields of a posted form; the last one if a name occurs several times. Raises `Problem` 400, 413, 415 or 422."""
    kind = request.headers.get("content-type", "application/x-www-form-urlencoded").partition(";")[0]
    if kind.strip().lower() != "application/x-www-form-urlencoded":
        raise Problem(415, "Send the form as application/x-www-form-urlencoded")
    body = bytearray()
    try:
        async for chunk in request.stream():
            if len(body) + len(chunk) > largest:
                raise Problem(413, f"A form may have at most {largest} bytes")
            body += chunk
    except ClientDisconnect as error:
        raise Problem(400, "The form did not arrive completely") from error
    if len(body) <= _PARSED_INLINE_BYTES:
        return _fields(body)
    return await asyncio.to_thread(_fields, body)


def _fields(body: bytearray) -> dict[str, str]:
    try:
        return dict(
            parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
        )
    except ValueError as error:
        raise Problem(422, f"A form may have at most {MOST_FIELDS} fields") from error
