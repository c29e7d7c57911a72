"""Open pages: readers of many streams in a process of their own, so that their CPU time is not counted as the senders'.

`python -m benchmarks.page_readers PORT quick|slow` is that process; `reading` starts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import uvloop

from benchmarks.filled_database import FilledDatabase
from benchmarks.targets import ROOT

STREAMS = 200


class Readers(msgspec.Struct, frozen=True, kw_only=True):
    """The readers' report: messages of each reader, total bytes, total reconnects, and CPU time in seconds."""

    messages: tuple[int, ...]
    byte_count: int
    reconnects: int
    cpu_s: float


def stream_paths(database: FilledDatabase, count: int = STREAMS) -> list[str]:
    """The streams: half of them galleries, most without a filter; a quarter chains; a quarter operations and timelines of tasks."""
    chains = list(database.live)
    filters = ["", "", "", "", "", "", "", "?status=active", "?text=cat", "?upstream=main"]
    galleries = [f"/live/gallery{filters[number % len(filters)]}" for number in range(count // 2)]
    about = [f"/live/chain/{chains[number % len(chains)]}" for number in range(count // 4)]
    rest = [
        "/live/operations"
        if number % 2
        else f"/live/task/main/{database.live[chains[number % len(chains)]][0]}"
        for number in range(count // 4)
    ]
    since_ms = time.time_ns() // 1_000_000
    return [f"{path}{'&' if '?' in path else '?'}since_ms={since_ms}" for path in (*galleries, *about, *rest)]


@contextlib.contextmanager
def reading(port: int, paths: list[str], *, slow: bool = False) -> Iterator[Any]:
    """Run readers of these streams until the block ends. Yields a function that stops them and returns their report."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.page_readers", str(port), "slow" if slow else "quick"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(paths).encode() + b"\n")
    process.stdin.flush()
    if process.stdout.readline() != b"open\n":
        raise RuntimeError("the readers could not open their streams")

    def end() -> Readers:
        output, _ = process.communicate()
        return msgspec.json.decode(output, type=Readers)

    try:
        yield end
    finally:
        if process.poll() is None:
            process.communicate()


class _Reader(asyncio.Protocol):
    """One open page. It reads everything, or nothing after the head if it is slow. If disconnected, it connects again."""

    def __init__(self, port: int, path: str, language: str, slow: bool) -> None:
        self._ask = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\naccept-language: {language}\r\n\r\n"
        self._port = port
        self._slow = slow
        self.is_open = asyncio.Event()
        self.messages = 0
        self.byte_count = 0
        self.connections = 0

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", self._port)

    def connection_made(self, transport: Any) -> None:
        self.connections += 1
        self._transport = transport
        transport.write(self._ask.encode())

    def data_received(self, data: bytes) -> None:
        self.byte_count += len(data)
        self.messages += data.count(b"\nid: 1")
        if not self.is_open.is_set():
            if not data.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(data[:200].decode())
            self.is_open.set()
            if self._slow:
                self._transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._slow:
            self._again = asyncio.ensure_future(self.connect())


async def _read(port: int, *, slow: bool) -> None:
    loop = asyncio.get_running_loop()
    paths = json.loads(sys.stdin.readline())
    readers = [_Reader(port, path, ("en", "zh")[number % 2], slow) for number, path in enumerate(paths)]
    for reader in readers:
        await reader.connect()
    for reader in readers:
        await reader.is_open.wait()
    # Wait for the messages about changes before the streams opened.
    await asyncio.sleep(1)
    for reader in readers:
        reader.messages = reader.byte_count = 0
    began_s = time.process_time()
    print("open", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    report = Readers(
        messages=tuple(reader.messages for reader in readers),
        byte_count=sum(reader.byte_count for reader in readers),
        reconnects=sum(reader.connections - 1 for reader in readers),
        cpu_s=time.process_time() - began_s,
    )
    sys.stdout.buffer.write(msgspec.json.encode(report))
    sys.stdout.flush()
    # The streams never end.
    os._exit(0)


if __name__ == "__main__":
    uvloop.run(_read(int(sys.argv[1]), slow=sys.argv[2] == "slow"))
