"""One upstream over HTTP: sends submissions, asks about tasks.

One client per upstream, with a pool little larger than the upstream's concurrency: httpx's pool gets slower with every
connection it holds.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import msgspec

from midjourney.codes import Outcome, Verdict, classify
from midjourney.decode import decode_answer, decode_task, decode_tasks
from midjourney.dialects import Dialect, Upstream
from midjourney.errors import InvalidRequest, NoAnswer, NotSent, Undecodable, UpstreamRefused
from midjourney.image_data import image_of_text
from midjourney.presses import is_upscale
from midjourney.redact import shown_body, without_secrets, without_secrets_in
from midjourney.requests import Request, kind_of
from midjourney.tls import trusted
from midjourney.types import Task
from midjourney.wire import wire_body, wire_path

_HEADERS = {"content-type": "application/json", "accept": "application/json, */*", "user-agent": "hookchain"}

_AT_ONCE = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
"""Head and body of a request leave in two writes: without it the second may wait 40 ms for the other side's word."""

CONNECT_TIMEOUT_S = 10.0
"""Seconds to make a connection. Running out of it is known to have cost nothing."""


LONGEST_RETRY_AFTER_S = 86_400.0
"""What a server may ask for; more is a mistake of its."""

IDLE_S = 4.0
"""How long a connection is kept that nothing uses. uvicorn, Node and Apache hang up after 5 s: a submit that meets that moment
may have been read or not, and waits for evidence."""

QUESTIONS_AT_ONCE = 4
"""Connections beside those of submissions, so that a question does not wait for a submission that hangs."""

MayLeave = Callable[[], bool]
"""Whether a request may still be written. What holds it up is a pool, a connection that is made, TLS: seconds each."""

Pace = Callable[[], Awaitable[None]]
"""Returns when the upstream may be asked something: its rate counts questions as well as submissions."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What came back for a submission: the HTTP status, the body as it came, and what it means.

    `told` is the whole story for people: what was sent, what came back and, where the answer names one, which field
    was wrong; without secrets.
    """

    status: int
    body: bytes
    verdict: Verdict
    told: str


class Client:
    """Speaks to one upstream. Close it with `aclose`. `pace` is awaited before each question about tasks."""

    def __init__(
        self,
        upstream: Upstream,
        dialect: Dialect,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.upstream = upstream
        self.dialect = dialect
        self._pace = pace
        limits = httpx.Limits(
            max_connections=upstream.concurrency + QUESTIONS_AT_ONCE,
            max_keepalive_connections=upstream.concurrency,
            keepalive_expiry=IDLE_S,
        )
        # The transport without the client around it: redirects, cookies and authentication flows are not wanted here,
        # and cost a third of the time that a request takes. It reads no proxy variables, which might see the key.
        self._transport = transport or httpx.AsyncHTTPTransport(
            limits=limits, socket_options=_AT_ONCE, verify=trusted()
        )
        self._base = base_url(upstream.url, self.dialect)
        self._headers = _HEADERS | auth_headers(upstream.key, self.dialect)
        seconds = {"read": upstream.timeout_s, "write": upstream.timeout_s, "pool": upstream.timeout_s}
        self._extensions = {"timeout": {"connect": CONNECT_TIMEOUT_S, **seconds}}

    async def submit(
        self, request: Request, *, notify_hook: str = "", state: str = "", may_leave: MayLeave | None = None
    ) -> Reply:
        """Send one submission, once. The only call that costs money.

        `may_leave` is asked at the last moment, when there is a connection to write to. Raises `InvalidRequest` before
        anything is sent, `NotSent` when the upstream cannot have seen it, `NoAnswer` when it may have.
        """
        body = wire_body(request, self.dialect, notify_hook=notify_hook, state=state)
        path, kind = wire_path(request, self.dialect), kind_of(request)
        answer = await self.send("POST", path, body, may_leave=may_leave)
        # Some upstreams repeat the key or the hook in their errors: neither is kept, logged or shown.
        content = without_secrets_in(answer.content, self.upstream.key, notify_hook)
        verdict = classify(
            kind,
            answer.status_code,
            content,
            bare_21_existed=kind in self.dialect.existed_on or is_upscale(request),
            retry_after_s=_retry_after_s(answer.headers),
        )
        told = self._story(path, body, answer, verdict)
        return Reply(status=answer.status_code, body=content, verdict=verdict, told=told)

    async def upload(self, images: list[str]) -> list[str]:
        """Put images where Midjourney can see them; their addresses, in the same order.

        Raises `InvalidRequest` for what is no image, `UpstreamRefused` when it is not done, and as `fetch` does.
        """
        path = self._path("upload")
        body = {"base64Array": [image_of_text(image).data_url for image in images]}
        answer = await self.send("POST", path, body)
        try:
            decoded = decode_answer(answer.content)
        except Undecodable as error:
            raise self._refused(answer, path, body) from error
        if answer.status_code != 200 or decoded.code not in (0, 1, 200) or len(decoded.ids) != len(images):
            raise self._refused(answer, path, body)
        return list(decoded.ids)

    async def fetch(self, task_id: str) -> Task | None:
        """The task as the upstream sees it now, or None when it does not know the id.

        Unknown is an empty 200 (novicezk, Plus), a 204 (trueai), a 400 or 200 with code 4 (new-api and gateways).
        Raises `UpstreamRefused` for any other error, `NotSent` or `NoAnswer` when nothing came back.
        """
        path = self._path("fetch", task_id)
        await self._may_ask()
        answer = await self.send("GET", path)
        if answer.status_code in (200, 204) and not answer.content.strip():
            return None
        if answer.status_code in (200, 400, 404) and _says_unknown(answer.content):
            return None
        if answer.status_code != 200:
            raise self._refused(answer, path)
        try:
            return decode_task(answer.content)
        except Undecodable as error:
            raise self._refused(answer, path) from error

    async def refresh(self, task_id: str) -> str:
        """The present address of a task's image: those of Discord expire. "" when the task has none, or is unknown."""
        task = await self.fetch(task_id)
        return "" if task is None else task.image_url

    async def image_seed(self, task_id: str) -> str:
        """The seed of a finished picture. It may take a minute: Plus and trueai ask Discord for it.

        Raises `UpstreamRefused` when there is none, and as `fetch` does.
        """
        path = self._path("image_seed", task_id)
        answer = await self.send("GET", path)
        try:
            decoded = decode_answer(answer.content)
        except Undecodable as error:
            raise self._refused(answer, path) from error
        if answer.status_code != 200 or decoded.code not in (0, 1, 200) or not decoded.ids:
            raise self._refused(answer, path)
        return decoded.ids[0]

    async def list_by_condition(self, task_ids: list[str]) -> list[Task]:
        """Those of the tasks that the upstream knows, in any order. Raises as `fetch` does."""
        return await self._tasks("POST", self._path("list_by_condition"), {"ids": task_ids})

    async def list_all(self) -> list[Task]:
        """The tasks that the upstream holds: all of them (novicezk, Plus), or the latest 100 (trueai v11).

        Raises as `fetch` does, and `InvalidRequest` where the dialect has no such list (relays over new-api).
        """
        return await self._tasks("GET", self._path("list"))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def send(
        self, method: str, path: str, body: object = None, *, may_leave: MayLeave | None = None
    ) -> httpx.Response:
        """One request, any answer. Raises `NotSent` or `NoAnswer`."""
        content = None if body is None else msgspec.json.encode(body)
        extensions: dict[str, Any] = self._extensions
        if may_leave is not None:
            extensions = extensions | {"trace": _last_moment(may_leave)}
        try:
            request = httpx.Request(
                method, self._base + path, headers=self._headers, content=content, extensions=extensions
            )
            answer = await self._transport.handle_async_request(request)
            try:
                await answer.aread()
            finally:
                await answer.aclose()
        except (
            httpx.InvalidURL,
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.PoolTimeout,
            httpx.UnsupportedProtocol,
        ) as error:
            raise NotSent(f"{self.upstream.url} could not be reached: {_says(error)}") from error
        except httpx.HTTPError as error:
            raise NoAnswer(f"{self.upstream.url} did not answer: {_says(error)}") from error
        return answer

    def _path(self, kind: str, task_id: str = "") -> str:
        if not self.dialect.has(kind):
            raise InvalidRequest("kind", f"dialect {self.dialect.name} has no {kind.replace('_', '-')}")
        return self.dialect.path(kind, task_id)

    async def _may_ask(self) -> None:
        if self._pace is not None:
            await self._pace()

    async def _tasks(self, method: str, path: str, body: object = None) -> list[Task]:
        await self._may_ask()
        answer = await self.send(method, path, body)
        if answer.status_code != 200:
            raise self._refused(answer, path, body)
        try:
            return decode_tasks(answer.content)
        except Undecodable as error:
            raise self._refused(answer, path, body) from error

    def _refused(self, answer: httpx.Response, path: str, body: object = None) -> UpstreamRefused:
        shown = self._shown(answer)
        sent = f" to {path} {shown_body(body)}" if body is not None else f" to {path}"
        return UpstreamRefused(f"{shown}{sent}", status=answer.status_code, body=shown)

    def _shown(self, answer: httpx.Response) -> str:
        text = without_secrets(answer.text, self.upstream.key)[:300].strip()
        return f"HTTP {answer.status_code}: {text or 'an empty body'}"

    def _story(
        self, path: str, body: dict[str, object] | None, answer: httpx.Response, verdict: Verdict
    ) -> str:
        reason = verdict.reason
        if verdict.outcome not in (Outcome.REJECTED, Outcome.UNCERTAIN):
            return reason
        named = [field for field in body or {} if field.lower() in reason.lower()]
        field = f"; the field is {named[0]}" if named else ""
        return f"{reason}{field}; sent POST {path} {shown_body(body)}; HTTP {answer.status_code}"


def base_url(url: str, dialect: Dialect) -> str:
    """The address that paths are appended to: people give it with and without the prefix."""
    trimmed = url.rstrip("/")
    return trimmed.removesuffix(dialect.prefix) if dialect.prefix else trimmed


def auth_headers(key: str, dialect: Dialect) -> dict[str, str]:
    """The headers that carry the key in this dialect; none without a key (novicezk's secret may be blank)."""
    headers: dict[str, str] = {}
    if key:
        if "mj-api-secret" in dialect.auth:
            headers["mj-api-secret"] = key
        if "bearer" in dialect.auth:
            headers["authorization"] = f"Bearer {key}"
        elif "raw" in dialect.auth:
            headers["authorization"] = key
    return headers


def _says_unknown(body: bytes) -> bool:
    """Whether an answer is the envelope with code 4 that new-api and gateways give for a task they do not know."""
    try:
        return len(body) < 4096 and decode_answer(body).code == 4
    except Undecodable:
        return False


def _last_moment(may_leave: MayLeave) -> Callable[[str, dict[str, Any]], Awaitable[None]]:
    """httpcore's trace of a request, ended where its first byte would be written."""

    async def trace(event: str, _info: dict[str, Any]) -> None:
        if event.endswith("send_request_headers.started") and not may_leave():
            raise NotSent("it was held up until it might not leave any more")

    return trace


def _says(error: Exception) -> str:
    return str(error) or type(error).__name__


def _retry_after_s(headers: httpx.Headers) -> float | None:
    """Seconds from Retry-After. Its date form is not read: no server of the family sends it."""
    value = headers.get("retry-after", "")
    return min(float(value), LONGEST_RETRY_AFTER_S) if value.isascii() and value.isdigit() else None
