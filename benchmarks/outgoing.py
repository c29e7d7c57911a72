"""Requests that leave: how many submissions a second, and how much of a processor each takes. `python -m benchmarks.outgoing`

The client runs on one core and an upstream that accepts everything on the other. Transports take turns, so that a busy machine
slows all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import httptools
import httpx
import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.processes import pin
from midjourney.connections import Connections
from midjourney.dialects import DEFAULT_DIALECT, DIALECTS, Upstream
from midjourney.slices import in_slices
from midjourney.transport import outgoing

IN_FLIGHT = (4, 32)
BODY = {
    "taskId": "1700000000000000",
    "customId": "MJ::JOB::upsample::1::0e6a5a0e",
    "notifyHook": "x" * 120,
    "state": "s" * 40,
}
ANSWER = b'{"code":1,"description":"ok","result":"1700000000000001","properties":{"discordInstanceId":"1"}}'


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """POSTs a second, and microseconds of processor for each in the client's process."""

    rate: float
    cpu_us: float


class _Stub(asyncio.Protocol):
    """One connection of an upstream that accepts everything at once."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._answer = (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (len(ANSWER), ANSWER)
        )

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(self._answer)


def _serve(ready: Connection) -> None:
    pin(0)

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Stub, "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


@contextlib.contextmanager
def _stub() -> Iterator[int]:
    """The port of an upstream in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join(10)


def _httpx(limits: httpx.Limits) -> httpx.AsyncBaseTransport:
    return in_slices(httpx.AsyncHTTPTransport(limits=limits))


TRANSPORTS: dict[str, Callable[[httpx.Limits], httpx.AsyncBaseTransport]] = {
    "httpx.AsyncHTTPTransport": _httpx,
    "midjourney.transport": outgoing,
}


async def _post(port: int, name: str, in_flight: int, seconds: float) -> Measured:
    limits = httpx.Limits(
        max_connections=in_flight + 4, max_keepalive_connections=in_flight, keepalive_expiry=4.0
    )
    connections = Connections(
        Upstream(url=f"http://127.0.0.1:{port}", key="k", timeout_s=60.0, concurrency=in_flight),
        DIALECTS[DEFAULT_DIALECT],
        transport=TRANSPORTS[name](limits),
    )
    answered = 0

    async def send(until: float) -> None:
        nonlocal answered
        while time.perf_counter() < until:
            answer = await connections.send("POST", "/mj/submit/action", BODY, may_leave=lambda: True)
            assert answer.status == 200
            answered += 1

    await asyncio.gather(
        *(send(time.perf_counter() + 0.2) for _ in range(in_flight))
    )  # the connections are made
    answered, began, cpu = 0, time.perf_counter(), time.process_time()
    await asyncio.gather(*(send(began + seconds) for _ in range(in_flight)))
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    await connections.aclose()
    return Measured(rate=answered / took, cpu_us=1e6 * cpu / answered)


def measure(*, rounds: int, seconds: float) -> None:
    """Print medians of alternating runs."""
    table = Table(title="submissions that leave, one core for the client, one for the upstream (medians)")
    for heading in ("transport", "in flight", "POSTs/s", "processor µs a POST"):
        table.add_column(heading, justify="left" if heading == "transport" else "right")
    with _stub() as port:
        pin(1)
        results: dict[tuple[str, int], list[Measured]] = {
            (name, n): [] for n in IN_FLIGHT for name in TRANSPORTS
        }
        for _ in range(rounds):
            for (name, in_flight), measured in results.items():
                measured.append(uvloop.run(_post(port, name, in_flight, seconds)))
    for (name, in_flight), measured in results.items():
        rate, cpu_us = (
            statistics.median(getattr(one, field) for one in measured) for field in ("rate", "cpu_us")
        )
        table.add_row(name, str(in_flight), f"{rate:,.0f}", f"{cpu_us:,.0f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="run for a few seconds, to check that it works")
    quick = parser.parse_args().quick
    measure(rounds=1 if quick else 5, seconds=0.3 if quick else 2.0)
