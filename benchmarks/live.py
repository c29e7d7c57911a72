"""What open pages cost callbacks: in turns without and with 200 streams, on a server with 100,000 tasks and a worker.

`python -m benchmarks.live PORT` is the readers: a process of its own, so that what they take is not the senders'.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.crowd import STARTED, Crowd, fill
from benchmarks.load import Saturated, saturate
from benchmarks.pages import RULES
from benchmarks.payloads import callback, request
from benchmarks.targets import HOOK, ROOT, cpu_s, resident_mb, until_quiet, watched_target

STREAMS = 200
ABOUT_CHAINS = 8
"""Of 64 connections, those that send callbacks about tasks of the chains that are looked at."""

GOAL = 0.10
"""What 200 pages may cost."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn came to; CPU of the server in microseconds a callback, `told` messages of each stream."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    sender_cpu: float
    reader_cpu: float = 0.0
    told: tuple[int, ...] = ()
    megabytes: float = 0.0
    again: int = 0


class Readers(msgspec.Struct, frozen=True, kw_only=True):
    """What the readers tell at their end: messages of each, all bytes, connections after the first, CPU seconds."""

    told: tuple[int, ...]
    byte_count: int
    again: int
    cpu_s: float


def measure(*, tasks: int, seconds: float, rounds: int) -> None:
    """Fill a file, start a server with its worker and a rule, and send callbacks at saturation in turns."""
    with tempfile.TemporaryDirectory() as work:
        crowd = fill(f"sqlite:///{work}/hookchain.db", tasks)
        turns_of(Path(work), crowd, seconds=seconds, rounds=rounds)


def turns_of(directory: Path, crowd: Crowd, *, seconds: float, rounds: int) -> None:
    """Take turns on a filled database, and print them."""
    (directory / "hookchain.toml").write_text(RULES)
    found: dict[bool, list[Turn]] = {False: [], True: []}
    about = _about(crowd, 2 * rounds + 2)
    with watched_target(directory) as (port, process_id):
        memory = {"at the start": resident_mb(process_id)}
        _turn(port, process_id, crowd, next(about), seconds / 2, 90, with_pages=True)  # what it does once
        memory["before pages"] = resident_mb(process_id)
        for number in range(rounds):
            order = (False, True) if number % 2 == 0 else (True, False)
            for with_pages in order:
                run = 2 * number + with_pages
                turn = _turn(port, process_id, crowd, next(about), seconds, run, with_pages=with_pages)
                found[with_pages].append(turn)
        memory["after pages"] = resident_mb(process_id)
        with _reading(port, ["/live/gallery"] * STREAMS, slow=True):
            uvloop.run(saturate([port], seconds, 91, others=next(about)))
            memory[f"with {STREAMS} that do not read"] = resident_mb(process_id)
    _show(found, memory)


def _turn(
    port: int,
    process_id: int,
    crowd: Crowd,
    others: Sequence[list[bytes]],
    seconds: float,
    run: int,
    *,
    with_pages: bool,
) -> Turn:
    until_quiet(process_id)
    if not with_pages:
        before_s = cpu_s(process_id)
        measured = uvloop.run(saturate([port], seconds, run, others=others))
        return _made(measured, cpu_s(process_id) - before_s)
    with _reading(port, _paths(crowd)) as readers:
        before_s = cpu_s(process_id)
        began_s = time.perf_counter()
        measured = uvloop.run(saturate([port], seconds, run, others=others))
        taken_s = cpu_s(process_id) - before_s
        told = readers()
    elapsed_s = time.perf_counter() - began_s
    return msgspec.structs.replace(
        _made(measured, taken_s),
        told=told.told,
        megabytes=told.byte_count / 1e6,
        reader_cpu=told.cpu_s / elapsed_s,
        again=told.again,
    )


def _made(measured: Saturated, taken_s: float) -> Turn:
    return Turn(
        rate=measured.rate,
        p50_ms=measured.p50_ms,
        p99_ms=measured.p99_ms,
        cpu_us=1e6 * taken_s / measured.answered,
        sender_cpu=measured.sender_cpu,
    )


def _paths(crowd: Crowd) -> list[str]:
    """Half galleries, most of them with no filter; a quarter chains; a quarter operations and stories of tasks."""
    chains = list(crowd.live)
    filters = ["", "", "", "", "", "", "", "?status=active", "?text=cat", "?upstream=main"]
    galleries = [f"/live/gallery{filters[number % len(filters)]}" for number in range(STREAMS // 2)]
    about = [f"/live/chain/{chains[number % len(chains)]}" for number in range(STREAMS // 4)]
    rest = [
        "/live/operations" if number % 2 else f"/live/task/main/{crowd.live[chains[number % len(chains)]][0]}"
        for number in range(STREAMS // 4)
    ]
    since_ms = time.time_ns() // 1_000_000
    return [f"{one}{'&' if '?' in one else '?'}since_ms={since_ms}" for one in (*galleries, *about, *rest)]


def _about(crowd: Crowd, turns: int) -> Iterator[list[list[bytes]]]:
    """For each turn what the first connections send: progress of all tasks of the live chains, ever further."""
    every = [
        (task_id, percent)
        for percent in range(STARTED + 1, 100)
        for ids in crowd.live.values()
        for task_id in ids
    ]
    most = len(every) // turns
    for number in range(turns):
        some = every[number * most : (number + 1) * most]
        made = [request(HOOK, callback(task_id, "IN_PROGRESS", percent)) for task_id, percent in some]
        yield [made[connection::ABOUT_CHAINS] for connection in range(ABOUT_CHAINS)]


@contextlib.contextmanager
def _reading(port: int, paths: list[str], *, slow: bool = False) -> Iterator[Any]:
    """Readers of these streams, from when all are open until the block ends; gives what ends them and tells."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.live", str(port), "slow" if slow else "quick"],
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
        told, _ = process.communicate()
        return msgspec.json.decode(told, type=Readers)

    try:
        yield end
    finally:
        if process.poll() is None:
            process.communicate()


def _show(found: dict[bool, list[Turn]], memory: dict[str, float]) -> None:
    table = Table(title=f"callbacks at saturation, in turns without and with {STREAMS} open pages (medians)")
    for heading in (
        "",
        "callbacks/s",
        "p50 ms",
        "p99 ms",
        "server's CPU, µs each",
        "senders' CPU",
        "readers' CPU",
    ):
        table.add_column(heading, justify="right" if heading else "left")
    for with_pages, turns in found.items():
        table.add_row(
            f"{STREAMS} pages" if with_pages else "no page",
            *(
                f"{statistics.median(getattr(one, name) for one in turns):,.{digits}f}"
                for name, digits in (("rate", 0), ("p50_ms", 1), ("p99_ms", 1), ("cpu_us", 0))
            ),
            f"{statistics.median(one.sender_cpu for one in turns):.0%}",
            f"{statistics.median(one.reader_cpu for one in turns):.0%}",
        )
    console = Console(width=110)
    console.print(table)
    pairs = list(zip(found[False], found[True], strict=True))
    rate = [plain.rate / paged.rate - 1 for plain, paged in pairs]
    cpu = [paged.cpu_us / plain.cpu_us - 1 for plain, paged in pairs]
    loud = "[bold red]MORE THAN THAT[/]" if statistics.median(cpu) > GOAL else "less"
    console.print(
        f"pages cost the server {statistics.median(cpu):.1%} CPU a callback ({_each(cpu)}); "
        f"time a callback, readers beside the senders: {statistics.median(rate):.1%} ({_each(rate)}); "
        f"goal: CPU below {GOAL:.0%}: {loud}"
    )
    paged = found[True]
    told = [sum(of_stream) for of_stream in zip(*(one.told for one in paged), strict=True)]
    console.print(
        f"messages of a stream in {len(paged)} turns: {min(told)} to {max(told)}, median {statistics.median(told):.0f}, "
        f"{told.count(0)} streams got none; {statistics.median(one.megabytes for one in paged):.1f} MB a turn; "
        f"{sum(one.again for one in paged)} connected again"
    )
    console.print("MB resident: " + ", ".join(f"{name} {size:.0f}" for name, size in memory.items()) + "\n")


def _each(shares: list[float]) -> str:
    return ", ".join(f"{one:.1%}" for one in shares)


class _Reader(asyncio.Protocol):
    """One page: it reads all, or nothing after the head; cut off, it connects again."""

    def __init__(self, port: int, path: str, language: str, slow: bool) -> None:
        self._ask = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\naccept-language: {language}\r\n\r\n"
        self._port = port
        self._slow = slow
        self.is_open = asyncio.Event()
        self.told = 0
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
        self.told += data.count(b"\nid: 1")
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
    await asyncio.sleep(1)  # what they missed has been told
    for reader in readers:
        reader.told = reader.byte_count = 0
    began_s = time.process_time()
    print("open", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    told = Readers(
        told=tuple(one.told for one in readers),
        byte_count=sum(one.byte_count for one in readers),
        again=sum(one.connections - 1 for one in readers),
        cpu_s=time.process_time() - began_s,
    )
    sys.stdout.buffer.write(msgspec.json.encode(told))
    sys.stdout.flush()
    os._exit(0)  # the streams have no end


if __name__ == "__main__":
    uvloop.run(_read(int(sys.argv[1]), slow=sys.argv[2] == "slow"))
