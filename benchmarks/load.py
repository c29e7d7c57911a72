"""The senders: a closed loop that measures throughput and an open loop that measures latency. They run on core 1."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import httptools
import msgspec

from benchmarks.payloads import STEPS, callback, request
from benchmarks.targets import HOOK

CONNECTIONS = 64
TASKS_A_SECOND = 100
"""Tasks that each connection has for a second, with five callbacks each, prepared beforehand: enough for 32,000 requests a second."""

PATIENCE_S = 300.0
"""How long a measurement waits at most, so that it ends if a server hangs."""


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
            if not self._done.done():
                self._done.set_exception(RuntimeError(f"answered {self._parser.get_status_code()}"))
            return
        now = time.perf_counter()
        self.latencies.append(now - self._sent_at)
        if now < self._until and len(self.latencies) < len(self._requests):
            self._send()
        elif not self._done.done():
            self._transport.close()
            self._done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or ConnectionResetError("the server closed the connection"))

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._requests[len(self.latencies)])


async def saturate(
    ports: Sequence[int], seconds: float, run: int, *, others: Sequence[list[bytes]] = (), path: str = HOOK
) -> Throughput:
    """Keep `CONNECTIONS` requests under way for some seconds, spread over the servers.

    `run`: a number that makes the ids differ from those of earlier runs. `others`: requests that the first connections send
    instead.
    """
    loop = asyncio.get_running_loop()
    tasks = math.ceil(seconds * TASKS_A_SECOND)
    prepared = [
        *others,
        *(_requests_of(connection, run, path, tasks) for connection in range(len(others), CONNECTIONS)),
    ]
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
    await asyncio.wait_for(asyncio.gather(*done), seconds + PATIENCE_S)
    elapsed = time.perf_counter() - started
    latencies = sorted(latency for sender in senders for latency in sender.latencies)
    return Throughput(
        answered=len(latencies),
        rate=len(latencies) / elapsed,
        p50_ms=percentile(latencies, 0.5) * 1000,
        p99_ms=percentile(latencies, 0.99) * 1000,
        sender_cpu=(time.process_time() - cpu) / elapsed,
    )


def _requests_of(connection: int, run: int, path: str, tasks: int) -> list[bytes]:
    """The requests of a connection. Their ids grow with time, as real ones do (epoch milliseconds and three digits)."""
    ids = [f"17{run:02d}{number:07d}{connection:03d}" for number in range(tasks)]
    return _told(ids, STEPS, path)


def _told(ids: Sequence[str], steps: Sequence[tuple[str, int]], path: str) -> list[bytes]:
    """The requests about tasks whose ids are equally long. Only the id differs between tasks, so no JSON is encoded again."""
    placeholder = "@" * len(ids[0])
    templates = [request(path, callback(placeholder, status, percent)) for status, percent in steps]
    return [
        template.replace(placeholder.encode(), task_id.encode()) for task_id in ids for template in templates
    ]


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds, ordered, from the time at which each callback was due to its answer, and to the arrival of its follow-up."""

    answer_ms: list[float]
    follow_up_ms: list[float]


class _Poster(asyncio.Protocol):
    """One keep-alive connection with one request under way. Notes when the callback of a task is answered 200."""

    def __init__(self, answered: dict[str, float]) -> None:
        self._answered = answered
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[None] | None = None
        self._task_id = ""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() == 200:
            self._answered[self._task_id] = time.perf_counter()
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("the server closed the connection"))

    def post(self, task_id: str, content: bytes) -> asyncio.Future[None]:
        """Send a request. The future is done when it is answered, with whatever status."""
        self._task_id = task_id
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(content)
        return self._answer


@contextlib.asynccontextmanager
async def _posters(port: int, count: int, answered: dict[str, float]) -> AsyncIterator[list[_Poster]]:
    loop = asyncio.get_running_loop()
    posters = [
        (await loop.create_connection(lambda: _Poster(answered), "127.0.0.1", port))[1] for _ in range(count)
    ]
    try:
        yield posters
    finally:
        for poster in posters:
            poster.transport.close()


async def steadily(
    port: int, requests: Iterable[tuple[str, bytes]], rate: float, *, connections: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Send requests at a steady rate, whatever the answers take: each over a connection that waits for no answer.

    Returns when each was due and when it was answered 200, by its key. If all connections wait, a request is sent late; its time
    counts from when it was due all the same. A connection that the server closes is not replaced; TimeoutError if none is left.
    """
    due: dict[str, float] = {}
    answered: dict[str, float] = {}
    async with _posters(port, connections, answered) as posters:
        idle: asyncio.Queue[_Poster] = asyncio.Queue()
        for poster in posters:
            idle.put_nowait(poster)
        under_way: set[asyncio.Future[None]] = set()

        def answered_now(poster: _Poster, future: asyncio.Future[None]) -> None:
            under_way.discard(future)
            # A connection that was lost stays out, and the measurement ends below.
            if future.exception() is None:
                idle.put_nowait(poster)

        start = time.perf_counter() + 0.2
        for number, (key, content) in enumerate(requests):
            due[key] = start + number / rate
            if (pause_s := due[key] - time.perf_counter()) > 0:
                await asyncio.sleep(pause_s)
            poster = await asyncio.wait_for(idle.get(), PATIENCE_S) if idle.empty() else idle.get_nowait()
            future = poster.post(key, content)
            under_way.add(future)
            future.add_done_callback(partial(answered_now, poster))
        await asyncio.wait_for(asyncio.gather(*under_way), PATIENCE_S)
    return due, answered


async def trickle(
    port: int, arrived: Mapping[str, float], *, rate: float, count: int, first: int, path: str = HOOK
) -> Latencies:
    """Send finished grids at a steady rate, without waiting for the answers, and give the last follow-ups a second to arrive."""
    due, answered = await steadily(port, grids(range(first, first + count), path), rate, connections=8)
    await asyncio.sleep(1)
    return Latencies(
        answer_ms=sorted((answered[key] - due[key]) * 1000 for key in due if key in answered),
        follow_up_ms=sorted((arrived[key] - due[key]) * 1000 for key in due if key in arrived),
    )


async def burst(port: int, requests: Sequence[tuple[str, bytes]], *, connections: int = CONNECTIONS) -> None:
    """Send all requests as fast as they are answered, over several connections. Raises RuntimeError if one is not answered 200."""
    answered: dict[str, float] = {}

    async def send(poster: _Poster, share: Sequence[tuple[str, bytes]]) -> None:
        for key, content in share:
            await poster.post(key, content)

    async with _posters(port, connections, answered) as posters:
        shares = [requests[number::connections] for number in range(connections)]
        await asyncio.wait_for(asyncio.gather(*map(send, posters, shares)), PATIENCE_S)
    if len(answered) < len(requests):
        raise RuntimeError(f"{len(requests) - len(answered)} callbacks were not answered 200")


def grids(numbers: Iterable[int], path: str = HOOK) -> list[tuple[str, bytes]]:
    """The ids of finished grids with these numbers, and the requests that tell of them."""
    ids = [f"19{number:012d}" for number in numbers]
    return list(zip(ids, _told(ids, STEPS[-1:], path), strict=True))


def percentile(ordered: list[float], share: float) -> float:
    """The value below which `share` of an ordered list lies."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")
