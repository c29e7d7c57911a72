"""The upstreams of a test: requests are written as they would leave, and a test, or nobody, decides their answers.

An answer takes no time: a request without one has left at the present moment. Before the time moves, it is answered with a new
task (code 1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from typing import cast

import httpx
import msgspec

from midjourney.dialects import Upstream

_leaving: ContextVar[tuple[str, str]] = ContextVar("leaving")
"""The upstream and the submission of the request that this task sends."""

LONGEST_S = 24 * 3600.0
"""A test may stand still in a debugger: meanwhile no request runs out of time."""


class Left(msgspec.Struct, frozen=True):
    """A request that left: of which submission, where to, and with which body."""

    submission_id: str
    upstream: str
    path: str
    body: Mapping[str, object]


class Answers(httpx.AsyncBaseTransport):
    """Takes all requests. `open` are those that have no answer yet, by their submissions; `named` the tasks that
    nobody but `accept_all` has named."""

    def __init__(self) -> None:
        self.left: list[Left] = []
        self.open: dict[str, asyncio.Future[httpx.Response]] = {}
        self.arrived = asyncio.Event()
        self.named: set[str] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Note a request, and wait for its answer."""
        content = await request.aread()
        upstream, submission_id = _leaving.get()
        is_json = request.headers.get("content-type", "").startswith("application/json")
        body = cast(dict[str, object], msgspec.json.decode(content)) if is_json and content else {}
        self.left.append(Left(submission_id, upstream, request.url.path, body))
        answer: asyncio.Future[httpx.Response] = asyncio.get_running_loop().create_future()
        self.open[submission_id] = answer
        self.arrived.set()
        try:
            return await answer
        finally:
            self.open.pop(submission_id, None)

    def answer(self, submission_id: str, body: Mapping[str, object], status: int = 200) -> None:
        """Answer a request. Raises `KeyError` if none of this submission is open."""
        response = httpx.Response(status, stream=httpx.ByteStream(msgspec.json.encode(body)))
        self.open.pop(submission_id).set_result(response)

    def accept_all(self, but: str = "") -> bool:
        """Answer every open request with a new task, except that of a submission. False if there was none."""
        accepted = [submission_id for submission_id in self.open if submission_id != but]
        for submission_id in accepted:
            name = f"task-{len(self.named) + 1}"
            self.named.add(name)
            self.answer(submission_id, {"code": 1, "description": "ok", "result": name})
        return bool(accepted)


async def leaving(upstream: str, submission_id: str) -> str:
    """The notifyHook of a submission. The submitter asks for it just before the request leaves, so that this tells whose it is."""
    _leaving.set((upstream, submission_id))
    return f"https://hookchain.example.com/notify/test/{submission_id}"


def rehearsed(upstream: Upstream) -> Upstream:
    """An upstream's settings for a test: callbacks are true, and no request has to wait until another is answered."""
    return msgspec.structs.replace(upstream, verify="trust", concurrency=10_000, timeout_s=LONGEST_S)
