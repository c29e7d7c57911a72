"""One upstream over HTTP: sends submissions, asks about tasks.

One client per upstream, with a pool no larger than the upstream's concurrency: httpx's pool gets slower with every
connection it holds.
"""

from __future__ import annotations

import socket

import httpx
import msgspec

from midjourney.codes import Verdict, classify
from midjourney.decode import decode_task, decode_tasks
from midjourney.dialects import Dialect, Upstream, dialect_of
from midjourney.errors import NoAnswer, NotSent, Undecodable, UpstreamRefused
from midjourney.requests import Request, kind_of, wire_body, wire_path
from midjourney.types import Task

_HEADERS = {"content-type": "application/json", "accept": "application/json, */*", "user-agent": "hookchain"}

_AT_ONCE = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
"""Head and body of a request leave in two writes: without it the second may wait 40 ms for the other side's word."""

CONNECT_TIMEOUT_S = 10.0
"""Seconds to make a connection. Running out of it is known to have cost nothing."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What came back for a submission: the HTTP status, the body as it came, and what it means."""

    status: int
    body: bytes
    verdict: Verdict


class Client:
    """Speaks to one upstream. Close it with `aclose`."""

    def __init__(self, upstream: Upstream, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.upstream = upstream
        self.dialect = dialect_of(upstream)
        limits = httpx.Limits(
            max_connections=upstream.concurrency,
            max_keepalive_connections=upstream.concurrency,
            keepalive_expiry=30,
        )
        # The transport without the client around it: redirects, cookies and authentication flows are not wanted here,
        # and cost a third of the time that a request takes. It reads no proxy variables, which might see the key.
        self._transport = transport or httpx.AsyncHTTPTransport(limits=limits, socket_options=_AT_ONCE)
        self._base = base_url(upstream.url, self.dialect)
        self._headers = _HEADERS | auth_headers(upstream.key, self.dialect)
        seconds = {"read": upstream.timeout_s, "write": upstream.timeout_s, "pool": upstream.timeout_s}
        self._extensions = {"timeout": {"connect": CONNECT_TIMEOUT_S, **seconds}}

    async def submit(self, request: Request, *, notify_hook: str = "", state: str = "") -> Reply:
        """Send one submission, once. The only call that costs money.

        Raises `NotSent` when the upstream cannot have seen it, `NoAnswer` when it may have.
        """
        body = wire_body(request, self.dialect, notify_hook=notify_hook, state=state)
        answer = await self._send("POST", wire_path(request, self.dialect), body)
        verdict = classify(
            kind_of(request), answer.status_code, answer.content, retry_after_s=_retry_after_s(answer.headers)
        )
        return Reply(status=answer.status_code, body=answer.content, verdict=verdict)

    async def fetch(self, task_id: str) -> Task | None:
        """The task as the upstream sees it now, or None when it does not know the id.

        Unknown is an empty 200 (novicezk, Plus), a 204 (trueai), a 400 or 200 with code 4 (new-api and gateways).
        Raises `UpstreamRefused` for any other error, `NotSent` or `NoAnswer` when nothing came back.
        """
        answer = await self._send("GET", f"{self.dialect.prefix}/task/{task_id}/fetch")
        if answer.status_code in (200, 204) and not answer.content.strip():
            return None
        if answer.status_code == 404 or b'"code":4' in answer.content[:400].replace(b" ", b""):
            return None
        if answer.status_code != 200:
            raise _refused(answer)
        try:
            return decode_task(answer.content)
        except Undecodable as error:
            raise _refused(answer) from error

    async def list_by_condition(self, task_ids: list[str]) -> list[Task]:
        """Those of the tasks that the upstream knows, in any order. Raises as `fetch` does."""
        answer = await self._send("POST", f"{self.dialect.prefix}/task/list-by-condition", {"ids": task_ids})
        return _tasks(answer)

    async def list_all(self) -> list[Task]:
        """The tasks that the upstream holds: all of them (novicezk, Plus), or the latest 100 (trueai v11).

        Raises as `fetch` does; relays over new-api have no such path.
        """
        answer = await self._send("GET", f"{self.dialect.prefix}/task/list")
        return _tasks(answer)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _send(self, method: str, path: str, body: object = None) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        request = httpx.Request(
            method, self._base + path, headers=self._headers, content=content, extensions=self._extensions
        )
        try:
            answer = await self._transport.handle_async_request(request)
            try:
                await answer.aread()
            finally:
                await answer.aclose()
        except (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.PoolTimeout,
            httpx.UnsupportedProtocol,
        ) as error:
            raise NotSent(f"{self.upstream.url} could not be reached: {_says(error)}") from error
        except httpx.HTTPError as error:
            raise NoAnswer(f"{self.upstream.url} did not answer: {_says(error)}") from error
        return answer


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


def _tasks(answer: httpx.Response) -> list[Task]:
    if answer.status_code != 200:
        raise _refused(answer)
    try:
        return decode_tasks(answer.content)
    except Undecodable as error:
        raise _refused(answer) from error


def _says(error: Exception) -> str:
    return str(error) or type(error).__name__


def _retry_after_s(headers: httpx.Headers) -> float | None:
    """Seconds from Retry-After. Its date form is not read: no server of the family sends it."""
    value = headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else None


def _refused(answer: httpx.Response) -> UpstreamRefused:
    shown = answer.text[:200]
    return UpstreamRefused(f"HTTP {answer.status_code}: {shown}", status=answer.status_code, body=shown)
