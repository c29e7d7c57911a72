"""POST /notify/{token}[/{submission_id}]: authenticate, decode, store, answer. Nothing else happens in the request.

`Ingest` is an ASGI callable in front of the router: bypassing Starlette saves a third of the time per callback. Senders post
without a time-out from a pool of ten that all their users share (novicezk, Plus), never retry, and ignore the response body.
So the response is quick, 200 is sent only after the commit, and bodies that cannot be understood are stored too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hooks.callback_body import BODY_WITHIN_S, read_body
from hooks.hook_tokens import HookMatch, NotifyTokens
from hooks.http.encoding import decoded
from hooks.http.shortcuts import FixedAnswer, whole_body
from hooks.intake import Intake, Reservation
from hooks.numbers import number
from hooks.problems import CONTENT_TYPE, Problem, Refused
from hooks.quotas import Quota, Quotas
from hooks.refusals import Refusals
from midjourney.decode import decode_task
from midjourney.dialects import Dialect
from midjourney.errors import Undecodable
from midjourney.peek import PEEK_BYTES, first_id
from midjourney.statuses import NO_STATUSES
from storage import clock
from storage.engine import Database
from storage.errors import NotDurable, Unkeepable
from storage.events import quarantine
from storage.events.quarantine import UnreadableBody
from storage.records import Incoming
from storage.tasks import questions
from storage.upstreams import restores
from storage.upstreams.restores import UnknownSubmission

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_NAME = "notify"

_KEPT = FixedAnswer([(b"content-type", b"application/json")], b'{"kept":true}')

_UNKNOWN = "Unknown hook URL. `hookchain url` prints the one to register."
_RETIRED = "This hook URL has been retired. `hookchain url` prints the one to register."


def is_hook(path: str) -> bool:
    """True if `Ingest` handles requests for this path."""
    return path.lstrip("/").startswith(f"{_NAME}/")


def _parts(path: str) -> list[str]:
    """The segments of a path, without what was added on the way: slashes that a proxy doubled by joining two addresses, and
    spaces or line ends that were registered as part of the hook."""
    return [part for part in map(str.strip, path.split("/")) if part]


class Ingest:
    """The endpoint that receives callbacks."""

    def __init__(
        self,
        database: Database,
        tokens: NotifyTokens,
        *,
        body_limit_bytes: int,
        body_within_s: float = BODY_WITHIN_S,
        intake: Intake | None = None,
        dialects: Mapping[str, Dialect] | None = None,
        refusals: Refusals | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        self._database = database
        self._meter = database.meter
        self._tokens = tokens
        self._limit = body_limit_bytes
        self._body_within_s = body_within_s
        self._intake = intake or Intake()
        self._statuses = {name: dialect.statuses for name, dialect in (dialects or {}).items()}
        self._refusals = refusals or Refusals(database)
        self._quotas = quotas or Quotas(Quota(), database.path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle and count (storage/meter.py) one request whose path satisfies `is_hook`."""
        began_ns, status = time.perf_counter_ns(), 500
        headers, body = list[tuple[bytes, bytes]](), b""
        try:
            await self._take(scope, receive)
            status = 200
        except Problem as problem:
            status, body = problem.status, problem.body()
            headers = [(b"content-type", CONTENT_TYPE.encode())]
            headers += [(name.encode(), value.encode()) for name, value in problem.headers.items()]
        finally:
            self._meter.count(
                "callbacks" if status == 200 else "refused",
                clock.now_ms(),
                (time.perf_counter_ns() - began_ns) // 1000,
            )
        if status == 200:
            await _KEPT.send(send)
            return
        headers = [*headers, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _take(self, scope: Scope, receive: Receive) -> None:
        """Keep what a request says. Raises `Problem`."""
        _, token, *rest = [*_parts(scope["path"]), ""]
        submission_id = "/".join(rest).rstrip("/")
        hook = await self._match_hook(scope, token, submission_id)
        try:
            if scope["method"] != "POST":
                raise _not_a_post(scope["method"])
            with Reservation(self._intake) as reservation:
                receive = decoded(receive, scope["headers"], self._limit)
                body = await read_body(
                    receive,
                    reservation,
                    declared_bytes=number(_header(scope, b"content-length")) or 0,
                    limit_bytes=self._limit,
                    within_s=self._body_within_s,
                    arrived=whole_body(receive),
                )
                await self._keep(scope, hook.upstream, token, submission_id, body)
        except Refused as refused:
            self._refusals.note(hook.upstream, refused.why, refused.detail_kept)
            if refused.start is not None:
                await self._poll_instead(hook.upstream, submission_id, first_id(refused.start))
            raise

    async def _match_hook(self, scope: Scope, token: str, submission_id: str) -> HookMatch:
        hook = self._tokens.match(token, submission_id)
        if hook.why is not None:
            try:
                hook = await self._tokens.match_fresh(token, submission_id)
            except NotDurable as error:
                self._refusals.note("", "not_kept", str(error))
                raise _not_durable() from error
        if hook.why is not None:
            sender = f"from {scope['client'][0]}" if scope.get("client") else ""
            self._refusals.note(hook.upstream, hook.why, sender)
            raise Problem(404, _UNKNOWN if hook.why == "unknown_hook" else _RETIRED)
        return hook

    async def _poll_instead(self, upstream: str, submission_id: str, task_id: str) -> None:
        """Have the upstream polled for what this callback would have reported."""
        now_ms = clock.now_ms()
        try:
            await self._database.write(
                "ask",
                lambda connection: questions.ask_soon(
                    connection, upstream, submission_id=submission_id, task_id=task_id, now_ms=now_ms
                ),
            )
        except NotDurable as error:
            raise _not_durable() from error

    async def _keep(self, scope: Scope, upstream: str, token: str, submission_id: str, body: bytes) -> None:
        received_at_ms = clock.now_ms()

        def stranger(reason: str) -> UnreadableBody:
            return UnreadableBody(
                upstream=upstream,
                submission_id=submission_id,
                content_type=_header(scope, b"content-type"),
                reason=reason,
                body=body,
                received_at_ms=received_at_ms,
            )

        try:
            task = decode_task(body, self._statuses.get(upstream, NO_STATUSES))
        except Undecodable as error:
            raise await self._quarantined(
                stranger(error.reason), 400 if not error.is_json else 422
            ) from error
        if self._quotas.is_over(upstream, submission_id, len(body)):
            await self._keep_id(upstream, submission_id, task.id)
            return
        incoming = Incoming(
            upstream=upstream,
            task=task,
            submission_id=submission_id,
            source="callback",
            received_at_ms=received_at_ms,
        )
        try:
            recorded = await self._database.append(incoming)
            size = 0 if recorded.is_copy else len(body)
            self._quotas.keep(upstream, submission_id, size, is_new=recorded.is_new)
            if recorded.lacks_submission and self._tokens.is_own(upstream, token, submission_id):
                await self._note_memory_lost(upstream, UnknownSubmission(mark=submission_id, task_id=task.id))
        except NotDurable as error:
            raise _not_durable() from error
        except Unkeepable as error:
            raise await self._quarantined(stranger(str(error)), 422) from error

    async def _keep_id(self, upstream: str, submission_id: str, task_id: str) -> None:
        """Keep only the task's id because its hook is over its quota, and have the upstream polled about the task."""
        if not self._quotas.may_poll(upstream, submission_id):
            raise Refused(
                429,
                "This hook has received far more in an hour than its quota allows",
                why="over_quota",
                headers={"retry-after": "600"},
            )
        await self._poll_instead(upstream, "", task_id)
        self._refusals.note(upstream, "over_quota", f"task {task_id}")

    async def _note_memory_lost(self, upstream: str, sign: UnknownSubmission) -> None:
        """Record that we made this hook for a submission that the database lacks, or has not sent: it was restored from a copy, or lost."""
        self._refusals.note(upstream, "unknown_submission", f"task {sign.task_id}")
        await self._database.write(
            "sign", lambda connection: restores.note_unknown(connection, upstream, sign)
        )
        self._database.wakeups.wake("signs")

    async def _quarantined(self, stranger: UnreadableBody, status: int) -> Refused:
        hook, size = (
            (stranger.upstream, stranger.submission_id),
            min(len(stranger.body), quarantine.KEPT_BYTES),
        )
        if not self._quotas.has_room():
            detail = f"{stranger.reason}; not kept because the disk is nearly full"
            return Refused(507, detail, why="no_space", start=stranger.body[:PEEK_BYTES])
        if self._quotas.is_over(*hook, size):
            detail = f"{stranger.reason}; not kept because the hook is over its quota"
            return Refused(status, detail, why="over_quota")
        try:
            kept = await self._database.write(
                "quarantine", lambda connection: quarantine.keep(connection, stranger)
            )
        except NotDurable:
            return _not_durable()
        self._quotas.keep(*hook, size, is_new=True)
        detail = f"{stranger.reason}; kept in quarantine as {kept}"
        # Only the beginning of a large body is kept, so the upstream is polled for the rest.
        start = stranger.body[:PEEK_BYTES] if len(stranger.body) > quarantine.KEPT_BYTES else None
        return Refused(status, detail, why="not_understood", quarantine_id=kept, start=start)


def _not_a_post(method: str) -> Problem:
    detail, allowed = "This is a notifyHook: it accepts task callbacks by POST only", {"allow": "POST"}
    # Not counted as a refused callback: people open the address in a browser.
    if method in ("GET", "HEAD", "OPTIONS"):
        return Problem(405, detail, headers=allowed)
    return Refused(405, detail, why="method", detail_kept=method, headers=allowed)


def _not_durable() -> Refused:
    return Refused(
        503,
        "The database could not store the callback; send it again",
        why="not_kept",
        headers={"retry-after": "5"},
    )


def _header(scope: Scope, name: bytes) -> str:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value).decode("latin-1")
    return ""
