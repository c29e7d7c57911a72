"""The senders: a closed loop that measures throughput and an open loop that measures latency. They run on core 1."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any

import httptools
import msgspec

from benchmarks.payloads import STEPS, callback, request
from benchmarks.targets import HOOK

CONNECTIONS = 64
TASKS_A_CONNECTION = 400
"""Tasks per connection, with five callbacks each. Their requests are prepared before the measurement starts."""


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """Requests answered 200, their rate per second, latency in ms, and the share of a core that the senders used."""

    answered: int
    rate: float
    p50_ms: float
    p99_ms: float
    sender_cpu: float


class _Sender(asyncio.Protocol):
    """One keep-alive connection that sends the next request as soon as the previous one is answered."""

    def __init__(self, requests: list[bytes], until: float, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._until = until
        self._done = done
        self._sent_at = 0.0
        self.latencies: list[float] = []
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() != 200:
            self._done.set_exception(RuntimeError(f"answered {self._parser.get_status_code()}"))
            return
        now = time.perf_counter()
        self.latencies.append(now - self._sent_at)
        if now < self._until and len(self.latencies) < len(self._requests):
            self._send()
        else:
            self._transport.close()
            self._done.set_result(None)

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._requests[len(self.latencies)])


async def saturate(
    ports: Sequence[int], seconds: float, run: int, *, others: Sequence[list[bytes]] = ()
) -> Throughput:
    """Keep `CONNECTIONS` requests under way for some seconds, spread over the servers.

    `run`: a number that makes the ids differ from those of earlier runs. `others`: requests that the first connections send
    instead.
    """
    loop = asyncio.get_running_loop()
    prepared = [*others, *(_requests_of(connection, run) for connection in range(len(others), CONNECTIONS))]
    done = [loop.create_future() for _ in prepared]
    started, cpu = time.perf_counter(), time.process_time()
    senders = []
    for number, (requests, future) in enumerate(zip(prepared, done, strict=True)):
        sender = _Sender(requests, started + seconds, future)
        # The default argument binds this iteration's sender.
        await loop.create_connection(
            lambda sender=sender: sender,  # type: ignore[misc]
            "127.0.0.1",
            ports[number % len(ports)],
        )
        senders.append(sender)
    await asyncio.gather(*done)
    elapsed = time.perf_counter() - started
    latencies = sorted(latency for sender in senders for latency in sender.latencies)
    return Throughput(
        answered=len(latencies),
        rate=len(latencies) / elapsed,
        p50_ms=percentile(latencies, 0.5) * 1000,
        p99_ms=percentile(latencies, 0.99) * 1000,
        sender_cpu=(time.process_time() - cpu) / elapsed,
    )


def _requests_of(connection: int, run: int) -> list[bytes]:
    """The requests of a connection. Their ids grow with time, as real ones do (epoch milliseconds and three digits)."""
    return [
        request(HOOK, callback(f"17{run:02d}{number:07d}{connection:03d}", status, percent))
        for number in range(TASKS_A_CONNECTION)
        for status, percent in STEPS
    ]


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds from the time at which each callback was due to its answer, and to the arrival of its follow-up."""

    answer_ms: list[float]
    follow_up_ms: list[float]


class _Upstream(asyncio.Protocol):
    """An upstream that accepts every press at once, notes its arrival time, and reports every task as finished."""

    def __init__(self, arrived: dict[str, float]) -> None:
        self._arrived = arrived
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
        now = time.perf_counter()
        if match := re.search(r"/task/(\w+)/fetch", self._path):
            self._answer(callback(match[1], "SUCCESS", 100))
            return
        if self._path.endswith("/list-by-condition"):
            ids = re.findall(r"\d+", self._body.decode())
            self._body = b""
            self._answer(b"[%s]" % b",".join(callback(task_id, "SUCCESS", 100) for task_id in ids))
            return
        if self._path.endswith("/task/list"):
            self._answer(b"[]")
            return
        pressed = re.search(rb'"taskId":"(\w+)"', self._body)
        self._body = b""
        assert pressed is not None
        self._arrived[pressed[1].decode()] = now
        self._answer(b'{"code":1,"description":"ok","result":"8%s"}' % pressed[1])

    def _answer(self, answer: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(answer)}\r\n\r\n"
        self._transport.write(head.encode() + answer)


class Poster(asyncio.Protocol):
    """One keep-alive connection; it notes when the callback of `task_id` is answered, and sets `answer` if there is one."""

    def __init__(self, answered: dict[str, float]) -> None:
        self._answered = answered
        self._parser = httptools.HttpResponseParser(self)
        self.task_id = ""
        self.answer: asyncio.Future[None] | None = None

    def connection_made(self, transport: Any) -> None:
        """Called by asyncio."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Called by the parser: the answer is complete."""
        self._answered[self.task_id] = time.perf_counter()
        if self.answer is not None:
            self.answer.set_result(None)


def stub_upstream(arrived: dict[str, float]) -> asyncio.Protocol:
    """One connection of an upstream that accepts every press at once and writes its arrival time into `arrived`, by task."""
    return _Upstream(arrived)


async def trickle(port: int, arrived: dict[str, float], *, rate: float, count: int, first: int) -> Latencies:
    """Send finished grids at a steady rate, without waiting for the answers."""
    loop = asyncio.get_running_loop()
    answered: dict[str, float] = {}
    posters = [
        (await loop.create_connection(lambda: Poster(answered), "127.0.0.1", port))[1] for _ in range(8)
    ]
    bodies = {
        f"19{first + number:012d}": callback(f"19{first + number:012d}", "SUCCESS", 100)
        for number in range(count)
    }
    due: dict[str, float] = {}
    start = time.perf_counter() + 0.2
    for number, (task_id, body) in enumerate(bodies.items()):
        due[task_id] = start + number / rate
        await asyncio.sleep(max(0.0, due[task_id] - time.perf_counter()))
        poster = posters[number % len(posters)]
        poster.task_id = task_id
        poster.transport.write(request(HOOK, body))
    await asyncio.sleep(1)
    for poster in posters:
        poster.transport.close()
    return Latencies(
        answer_ms=sorted((answered[key] - due[key]) * 1000 for key in due if key in answered),
        follow_up_ms=sorted((arrived[key] - due[key]) * 1000 for key in due if key in arrived),
    )


def percentile(ordered: list[float], share: float) -> float:
    """The value below which `share` of an ordered list lies."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")
