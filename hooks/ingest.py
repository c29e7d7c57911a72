"""POST /notify/{token}[/{submission_id}]: authenticate, decode, keep, answer. Nothing else happens in the request.

An ASGI callable ahead of the router, which saves a third of the time a callback costs. Senders post with no time-out
from a pool of ten that all their users share (novicezk, Plus), never try again, and ignore the answer's body: so the
answer is quick, 200 is sent only after the commit, and what is not understood is kept too.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from hooks.auth import NotifyTokens
from hooks.intake import Held, Intake
from hooks.numbers import number
from hooks.problems import CONTENT_TYPE, Problem
from midjourney.decode import decode_task
from midjourney.errors import Undecodable
from storage import quarantine
from storage.engine import Database
from storage.errors import NotDurable, Unkeepable
from storage.quarantine import Stranger
from storage.records import Incoming

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

PREFIX = "/notify/"

BODY_WITHIN_S = 10.0
"""Seconds for a body to be complete. Senders write theirs at once; who sends a byte a second only holds a place."""

_JSON = [(b"content-type", b"application/json")]
_KEPT = b'{"kept":true}'


class Ingest:
    """The hook's endpoint."""

    def __init__(
        self,
        database: Database,
        tokens: NotifyTokens,
        *,
        body_limit_bytes: int,
        body_within_s: float = BODY_WITHIN_S,
        intake: Intake | None = None,
    ) -> None:
        self._database = database
        self._meter = database.meter
        self._tokens = tokens
        self._limit = body_limit_bytes
        self._body_within_s = body_within_s
        self._intake = intake or Intake()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request whose path begins with `PREFIX`, and count it (storage/meter.py)."""
        began_ns, status = time.perf_counter_ns(), 500
        try:
            status, headers, body = await self._answer(scope, receive)
        except Problem as problem:
            status, body = problem.status, problem.body()
            headers = [(b"content-type", CONTENT_TYPE.encode())]
            headers += [(name.encode(), value.encode()) for name, value in problem.headers.items()]
        finally:
            self._meter.count(
                "callbacks" if status == 200 else "refused",
                time.time_ns() // 1_000_000,
                (time.perf_counter_ns() - began_ns) // 1000,
            )
        headers = [*headers, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        token, _, submission_id = scope["path"][len(PREFIX) :].rstrip("/").partition("/")
        upstream = self._tokens.upstream_of(token)
        if upstream is None or "/" in submission_id:
            raise Problem(404, "this is no hook of ours; `hookchain url` prints the address to register")
        if scope["method"] != "POST":
            raise Problem(
                405, "this is a notifyHook: task callbacks are POSTed to it", headers={"allow": "POST"}
            )
        with Held(self._intake) as held:
            body = await self._body(scope, receive, held)
            return await self._keep(scope, upstream, submission_id, body)

    async def _keep(
        self, scope: Scope, upstream: str, submission_id: str, body: bytes
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        received_at_ms = time.time_ns() // 1_000_000

        def stranger(reason: str) -> Stranger:
            return Stranger(
                upstream=upstream,
                submission_id=submission_id,
                content_type=_header(scope, b"content-type"),
                reason=reason,
                body=body,
                received_at_ms=received_at_ms,
            )

        try:
            task = decode_task(body)
        except Undecodable as error:
            raise await self._quarantined(
                stranger(error.reason), 400 if not error.is_json else 422
            ) from error
        incoming = Incoming(
            upstream=upstream,
            task=task,
            submission_id=submission_id,
            source="callback",
            received_at_ms=received_at_ms,
        )
        try:
            await self._database.append(incoming)
        except NotDurable as error:
            raise _not_durable() from error
        except Unkeepable as error:
            raise await self._quarantined(stranger(str(error)), 422) from error
        return 200, _JSON, _KEPT

    async def _quarantined(self, stranger: Stranger, status: int) -> Problem:
        try:
            kept = await self._database.write(
                "quarantine", lambda connection: quarantine.keep(connection, stranger)
            )
        except NotDurable:
            return _not_durable()
        return Problem(status, f"{stranger.reason}; kept in quarantine as {kept}", quarantine_id=kept)

    async def _body(self, scope: Scope, receive: Receive, held: Held) -> bytes:
        if (number(_header(scope, b"content-length")) or 0) > self._limit:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._body_within_s):
                return await self._complete(receive, held)
        except TimeoutError as error:
            raise Problem(
                408,
                f"the body was not complete within {self._body_within_s:g} s",
                headers={"connection": "close"},
            ) from error

    async def _complete(self, receive: Receive, held: Held) -> bytes:
        parts: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Problem(400, "the sender closed the connection before its body was complete")
            part: bytes = message.get("body", b"")
            if held.size + len(part) > self._limit:
                raise self._too_large()
            held.add(len(part))
            parts.append(part)
            if not message.get("more_body", False):
                return part if len(parts) == 1 else b"".join(parts)

    def _too_large(self) -> Problem:
        return Problem(413, f"a callback may have {self._limit} bytes", headers={"connection": "close"})


def _not_durable() -> Problem:
    return Problem(
        503, "the database could not keep the callback; send it again", headers={"retry-after": "5"}
    )


def _header(scope: Scope, name: bytes) -> str:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value).decode("latin-1")
    return ""
