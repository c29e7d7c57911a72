"""Writes the answers of the gateway: always JSON, always readable for browsers of other origins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from dispatcher.tickets.answers import Envelope, refused

if TYPE_CHECKING:
    from starlette.types import Scope, Send

ALLOWED_METHODS = "GET, POST, OPTIONS"
ALLOWED_HEADERS = ("content-type", "authorization", "mj-api-secret", "x-ptoken", "idempotency-key")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer to a request of a client: its status, its body as JSON (None for an empty one), and further headers."""

    status: int = 200
    body: object = None
    headers: Sequence[tuple[str, str]] = ()


class Refused(Exception):
    """A request that is answered at once with an envelope."""

    def __init__(
        self, status: int, code: int, description: str, *, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(description)
        self.answer = Answer(status=status, body=refused(code, description), headers=headers)


def envelope(told: Envelope, *, status: int = 200) -> Answer:
    """An envelope as an answer."""
    return Answer(status=status, body=told)


class CrossOrigin:
    """The headers by which browsers let a page of another origin read an answer. Cookies are never used, so any origin may."""

    def __init__(self, origins: Sequence[str] = ("*",)) -> None:
        self._origins = frozenset(origins)

    def headers(self, scope: Scope) -> list[tuple[str, str]]:
        """The headers of an answer to this request."""
        if "*" in self._origins:
            return [("access-control-allow-origin", "*")]
        origin = header(scope, b"origin")
        if origin in self._origins:
            return [("access-control-allow-origin", origin), ("vary", "origin")]
        return [("vary", "origin")]

    def preflight(self, scope: Scope) -> Answer:
        """The answer to a preflight request, which carries no key."""
        asked = header(scope, b"access-control-request-headers")
        names = dict.fromkeys(
            (*ALLOWED_HEADERS, *(part.strip().lower() for part in asked.split(",") if part.strip()))
        )
        allowed = ", ".join(name for name in names if name.isascii() and name.replace("-", "").isalnum())
        headers = [
            ("access-control-allow-methods", ALLOWED_METHODS),
            ("access-control-allow-headers", allowed),
            ("access-control-max-age", "86400"),
        ]
        return Answer(status=204, headers=headers)


def header(scope: Scope, name: bytes) -> str:
    """A header of a request, or ""."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


async def write(send: Send, answer: Answer, headers: Sequence[tuple[str, str]]) -> None:
    """Write an answer."""
    body = b"" if answer.body is None else msgspec.json.encode(answer.body)
    written = [*headers, *answer.headers]
    if answer.status != 204:
        written += [("content-type", "application/json;charset=UTF-8"), ("content-length", str(len(body)))]
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in written]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
