"""The connections to one upstream: its URL, the headers with the key, and the time-outs.

Each upstream has its own pool, slightly larger than its concurrency, so that one that hangs takes no connections from others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import httpx
import msgspec

from midjourney.bounded import Answer, BadAnswer, Bounds, exchange
from midjourney.dialects import Dialect, Upstream
from midjourney.errors import NoAnswer, NotSent
from midjourney.modes import base_for
from midjourney.steps import Leaving, at_once
from midjourney.streamed import StreamedBody
from midjourney.transport import outgoing

_HEADERS = {"content-type": "application/json", "accept": "application/json, */*", "user-agent": "hookchain"}

CONNECT_TIMEOUT_S = 10.0
"""Seconds to make a connection. If it fails, the request certainly cost nothing."""

ANSWER_BYTES = 4 * 1024 * 1024
"""The longest answer about one task. Known ones have 0.1 to 10 kB; a relay that fills `maskBase64` adds a PNG."""

LIST_BYTES = 32 * 1024 * 1024
"""The longest list: about 8,000 tasks of 4 kB."""

IDLE_S = 4.0
"""How long an idle connection is kept. uvicorn, Node and Apache close it after 5 s: a submit at that moment has an unknown
outcome, and waits for evidence."""

QUESTIONS_AT_ONCE = 4
"""Connections in addition to those of submissions, so that a read does not wait for a submission that hangs."""

KNOWN_URLS = 64
"""Parsed URLs that are kept for one upstream."""

MayLeave = Callable[[], bool]
"""Returns True if a request may still be written. The pool, the connection and TLS can each delay it by seconds."""


class Connections:
    """Sends requests to one upstream. Close it with `aclose`."""

    def __init__(
        self, upstream: Upstream, dialect: Dialect, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._upstream = upstream
        limits = httpx.Limits(
            max_connections=upstream.concurrency + QUESTIONS_AT_ONCE,
            max_keepalive_connections=upstream.concurrency,
            keepalive_expiry=IDLE_S,
        )
        # The transport without httpx's client, because redirects, cookies and authentication flows are not needed.
        self._transport = transport or outgoing(limits)
        base, headers = base_url(upstream.url, dialect), _HEADERS | auth_headers(upstream.key, dialect)

        # Parsing a URL and completing its headers took half of a request's time. Submissions have few paths.
        @lru_cache(KNOWN_URLS)
        def prepared(path: str) -> tuple[httpx.URL, httpx.Headers]:
            url = httpx.URL(base_for(path, base, dialect) + path)
            return url, httpx.Headers({"host": url.netloc.decode("ascii"), **headers})

        self._prepared = prepared
        seconds = {"read": upstream.timeout_s, "write": upstream.timeout_s, "pool": upstream.timeout_s}
        self._extensions = {"timeout": {"connect": CONNECT_TIMEOUT_S, **seconds}}

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        may_leave: MayLeave | None = None,
        largest_bytes: int = ANSWER_BYTES,
    ) -> Answer:
        """Send one request and read its answer of at most `largest_bytes`. The body is a value for JSON, or a `StreamedBody`. Raises `NotSent` or `NoAnswer`."""
        bounds = Bounds(
            sent_bytes=largest_bytes, unpacked_bytes=largest_bytes, within_s=self._upstream.timeout_s
        )
        content: bytes | StreamedBody = b""
        if body is not None:
            content = body if isinstance(body, StreamedBody) else msgspec.json.encode(body)
        try:
            request = self._request(method, path, content)
            leaving = at_once if may_leave is None else _last_moment(may_leave)
            return await exchange(self._transport.handle_async_request, request, bounds, leaving=leaving)
        except (
            httpx.InvalidURL,
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.PoolTimeout,
            httpx.UnsupportedProtocol,
            httpx.LocalProtocolError,
        ) as error:
            raise NotSent(f"{self._upstream.url} could not be reached: {_says(error)}") from error
        except httpx.HTTPError as error:
            raise NoAnswer(f"{self._upstream.url} did not answer: {_says(error)}") from error
        except BadAnswer as error:
            raise NoAnswer(f"{self._upstream.url} sent an unusable answer: {error}") from error

    def _request(self, method: str, path: str, content: bytes | StreamedBody) -> httpx.Request:
        """The request with its headers, as httpx completes them."""
        url, headers = self._prepared(path)
        stream = content if isinstance(content, StreamedBody) else httpx.ByteStream(content)
        request = httpx.Request(method, url, headers=headers, stream=stream, extensions=self._extensions)
        if isinstance(content, StreamedBody):
            request.headers["content-type"] = content.content_type
        if method == "POST" or len(content):
            request.headers["content-length"] = str(len(content))
        if isinstance(content, bytes):
            request.read()
        return request


def base_url(url: str, dialect: Dialect) -> str:
    """The URL that paths are appended to: people configure it with or without the prefix."""
    trimmed = url.rstrip("/")
    return trimmed.removesuffix(dialect.prefix) if dialect.prefix else trimmed


def auth_headers(key: str, dialect: Dialect) -> dict[str, str]:
    """The headers that carry the key in this dialect; none without a key (novicezk's secret may be empty)."""
    headers: dict[str, str] = {}
    if key:
        if "mj-api-secret" in dialect.auth:
            headers["mj-api-secret"] = key
        if "bearer" in dialect.auth:
            headers["authorization"] = f"Bearer {key}"
        elif "raw" in dialect.auth:
            headers["authorization"] = key
    return headers


def _last_moment(may_leave: MayLeave) -> Leaving:
    """Stops the request before its first byte is written."""

    def leaving() -> None:
        if not may_leave():
            raise NotSent("the request was delayed until it was no longer allowed to leave")

    return leaving


def _says(error: Exception) -> str:
    return str(error) or type(error).__name__
