"""The stub that follow-ups go to, and when each of them arrived."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import httptools

from benchmarks.payloads import callback

_PRESSED = re.compile(rb'"(?:taskId|id)"\s*:\s*"(\w+)"')
"""The task that a follow-up presses a button of: `taskId` in the family's protocol, `id` in that of the prototype."""


class Arrivals(dict[str, float]):
    """The arrival time of each follow-up by its task, as of `time.perf_counter`, and how many came that had come before."""

    def __init__(self) -> None:
        super().__init__()
        self.repeated = 0
        self._waiting: list[tuple[int, asyncio.Event]] = []

    def note(self, task_id: str) -> None:
        """A follow-up for this task is here. Its first arrival counts."""
        if task_id in self:
            self.repeated += 1
            return
        self[task_id] = time.perf_counter()
        for number, reached in self._waiting:
            if len(self) >= number:
                reached.set()

    async def reach(self, number: int, *, within_s: float) -> None:
        """Return once follow-ups for this many tasks have arrived. Raises RuntimeError if they do not within this time."""
        reached = asyncio.Event()
        self._waiting.append((number, reached))
        if len(self) >= number:
            reached.set()
        try:
            await asyncio.wait_for(reached.wait(), within_s)
        except TimeoutError:
            missing = number - len(self)
            raise RuntimeError(
                f"{missing} of {number} follow-ups did not arrive within {within_s:.0f} s"
            ) from None


class _Connection(asyncio.Protocol):
    """An upstream that accepts every press at once, notes its arrival time, and reports every task as finished."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._path = ""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path = url.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        self._answer(self._answered(body))

    def _answered(self, body: bytes) -> bytes:
        if match := re.search(r"/task/(\w+)/fetch", self._path):
            return callback(match[1], "SUCCESS", 100)
        if self._path.endswith("/list-by-condition"):
            ids = re.findall(r"\d+", body.decode())
            return b"[%s]" % b",".join(callback(task_id, "SUCCESS", 100) for task_id in ids)
        if self._path.endswith("/task/list"):
            return b"[]"
        pressed = _PRESSED.search(body)
        assert pressed is not None, f"{self._path} got {body!r}"
        self._arrivals.note(pressed[1].decode())
        return b'{"code":1,"description":"ok","result":"8%s"}' % pressed[1]

    def _answer(self, answer: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(answer)}\r\n\r\n"
        self._transport.write(head.encode() + answer)
        if not self._parser.should_keep_alive():
            self._transport.close()


@contextlib.asynccontextmanager
async def stub(arrivals: Arrivals) -> AsyncIterator[int]:
    """Run the upstream in this process, and yield its port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(arrivals), "127.0.0.1", 0, backlog=1024)
    async with server:
        yield server.sockets[0].getsockname()[1]
