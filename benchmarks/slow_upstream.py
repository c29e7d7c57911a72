"""An upstream that takes a while for each submission, as real ones do, and counts what it is asked."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httptools

from benchmarks.payloads import callback

PREFIX = "16"
"""Begins its ids. Fourteen digits that count its submissions follow."""


class Asked(Counter[str]):
    """How often each kind of request came: "submit" or "read"."""


class _Connection(asyncio.Protocol):
    def __init__(self, asked: Asked, numbers: itertools.count[int], takes_s: float) -> None:
        self._asked = asked
        self._numbers = numbers
        self._takes_s = takes_s
        self._path = ""
        self._body = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser: Any = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path = url.decode()

    def on_body(self, body: bytes) -> None:
        if "/submit/" not in self._path:  # those may have 40 MB
            self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        if "/submit/" in self._path:
            self._asked["submit"] += 1
            answer = f'{{"code":1,"description":"Submit success","result":"{PREFIX}{next(self._numbers):014d}"}}'.encode()
            asyncio.get_running_loop().call_later(self._takes_s, self._answer, answer)
            return
        self._asked["read"] += 1
        self._answer(self._tasks(body))

    def _tasks(self, body: bytes) -> bytes:
        """What it answers to a question about tasks: all of them run."""
        if found := re.search(r"/task/(\w+)/fetch", self._path):
            return callback(found[1], "IN_PROGRESS", 1)
        ids = re.findall(r"\d+", body.decode()) if self._path.endswith("/list-by-condition") else []
        return b"[%s]" % b",".join(callback(task_id, "IN_PROGRESS", 1) for task_id in ids)

    def _answer(self, answer: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(answer)}\r\n\r\n"
        self._transport.write(head.encode() + answer)


@contextlib.asynccontextmanager
async def slow_upstream(asked: Asked, takes_s: float) -> AsyncIterator[int]:
    """Run the upstream in this process, and yield its port."""
    numbers = itertools.count(1)
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(asked, numbers, takes_s), "127.0.0.1", 0, backlog=1024
    )
    async with server:
        yield server.sockets[0].getsockname()[1]
