"""`python -m benchmarks.postgres`: what one, two and four processes receive and submit on PostgreSQL, over its socket and over a
network that takes 0.5 ms each way, and which core is full meanwhile."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import psycopg
import uvloop
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from benchmarks.claim_plans import show_plans
from benchmarks.contenders import PRESS_ONE
from benchmarks.delay import delayed
from benchmarks.load import PATIENCE_S, Throughput, saturate
from benchmarks.payloads import callback
from benchmarks.processes import CORES, cpu_of_all_s, cpu_s, free_port, idle_s, started, wait_for
from benchmarks.side_by_side import cell
from benchmarks.targets import ROOT, SECRET
from benchmarks.upstream import Arrivals, stub
from midjourney.decode import decode_task
from storage.engine import Database
from storage.migrate import migrate
from storage.records import Incoming
from storage.schema import SCHEMA
from tests.support.postgres import Server, empty, running

PROCESSES = (1, 2, 4)
DELAY_MS = 0.5


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """A way to the server: its address, and the proxy's process on it, 0 if there is none."""

    name: str
    url: str
    proxy_id: int = 0


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """Follow-ups a second, and shares of a core that the processes of each kind used meanwhile. `idle`: of all cores."""

    rate: float
    ours: tuple[float, ...]
    server: float
    proxy: float
    upstream: float
    others: float
    idle: float


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(prog="benchmarks.postgres", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of callbacks at saturation")
    parser.add_argument("--chains", type=int, default=1_000, help="finished grids, each pressed once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1_000_000, help="in each table, for the claims' plans")
    given = parser.parse_args()
    measure(seconds=given.seconds, chains=given.chains, rows=given.rows, rounds=given.rounds)


def measure(
    *, seconds: float, chains: int, rows: int, rounds: int, processes: Sequence[int] = PROCESSES
) -> None:
    """Run all measurements on a separate server with fsync and synchronous_commit on."""
    console = Console(width=200)
    with running() as server:
        migrate(server.url)
        with delayed(_socket(server.url), DELAY_MS) as (port, proxy_id):
            ways = (
                Way(name="Unix socket", url=server.url),
                Way(
                    name=f"{DELAY_MS} ms each way",
                    url=f"postgresql://postgres@127.0.0.1:{port}/postgres",
                    proxy_id=proxy_id,
                ),
            )
            for way in ways:
                _received_table(console, server, way, seconds, processes, rounds)
                _submitted_table(console, server, way, chains, processes, rounds)
        empty(server.url)
        show_plans(console, server.url, rows)


def _received_table(
    console: Console, server: Server, way: Way, seconds: float, processes: Sequence[int], rounds: int
) -> None:
    found: dict[int, list[Throughput]] = {count: [] for count in processes}
    for number in range(rounds):
        for count, measured in found.items():
            empty(server.url)
            measured.append(_received(way.url, count, seconds, number))
    console.print(f"\nCallbacks on PostgreSQL, {way.name}: `serve --no-worker`, 64 connections")
    table = Table(box=MARKDOWN)
    for heading in ("processes", "callbacks/s", "ratio to one", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    for count, measured in found.items():
        table.add_row(
            str(count),
            cell([one.rate for one in measured], 0),
            _to_first(measured, next(iter(found.values()))),
            cell([one.p50_ms for one in measured], 1),
            cell([one.p99_ms for one in measured], 1),
        )
    console.print(table)


def _submitted_table(
    console: Console, server: Server, way: Way, chains: int, processes: Sequence[int], rounds: int
) -> None:
    found: dict[int, list[Drained]] = {count: [] for count in processes}
    for _ in range(rounds):
        for count, measured in found.items():
            empty(server.url)
            measured.append(uvloop.run(_drained(way, postmaster(server.url), count, chains)))
    console.print(
        f"\nFollow-ups on PostgreSQL, {way.name}: `work`, {chains:,} finished grids; CPU as shares of one of {len(CORES)} cores"
    )
    table = Table(box=MARKDOWN)
    for heading in (
        "processes",
        "follow-ups/s",
        "ratio to one",
        "each of ours",
        "PostgreSQL",
        "proxy",
        "upstream",
        "others",
        "idle",
    ):
        table.add_column(heading, justify="right")
    for count, measured in found.items():
        ours = zip(*(one.ours for one in measured), strict=True)
        others = zip(
            *((one.server, one.proxy, one.upstream, one.others, one.idle) for one in measured), strict=True
        )
        table.add_row(
            str(count),
            cell([one.rate for one in measured], 0),
            _to_first(measured, next(iter(found.values()))),
            ", ".join(f"{statistics.median(shares):.0%}" for shares in ours),
            *(f"{statistics.median(shares):.0%}" for shares in others),
        )
    console.print(table, "others: what else runs on this machine. No share of idle: the cores are full")


def _to_first(measured: Sequence[Throughput | Drained], first: Sequence[Throughput | Drained]) -> str:
    return cell([one.rate / other.rate for one, other in zip(measured, first, strict=True)], 2)


@contextlib.contextmanager
def _processes(
    commands: list[list[str]], directory: Path, url: str, upstream_port: int
) -> Iterator[list[int]]:
    """Run these commands of hookchain; the ids of their processes. What they listen on answers when this returns."""
    environment = {
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": url,
        "HOOKCHAIN_SECRET": SECRET,
        "HOOKCHAIN_UPSTREAM_URL": f"http://127.0.0.1:{upstream_port}",
        "HOOKCHAIN_UPSTREAM_VERIFY": "trust",
        "HOOKCHAIN_BUDGET_PER_HOUR": "1000000",
        "HOOKCHAIN_QUOTAS_BYTES_PER_HOUR": "0",
        "HOOKCHAIN_QUOTAS_TASKS_PER_HOUR": "0",
        "LOG_LEVEL": "warning",
    }
    with contextlib.ExitStack() as stack:
        processes = []
        for command in commands:
            line = [sys.executable, "-m", "hookchain", *command]
            process = stack.enter_context(started(line, directory, environment, core=None))
            processes.append(process)
            if "--port" in command:
                wait_for(int(command[-1]), process)
        yield [process.pid for process in processes]
        for process in processes:
            # All at once: each takes a moment to end.
            process.terminate()


def _received(url: str, count: int, seconds: float, run: int) -> Throughput:
    """What these processes answer after their commits. Raises SystemExit if the database has fewer."""
    ports = [free_port() for _ in range(count)]
    commands = [["serve", "--no-worker", "--port", str(port)] for port in ports]
    with tempfile.TemporaryDirectory() as work, _processes(commands, Path(work), url, 9):
        measured = uvloop.run(saturate(ports, seconds, run))
    with psycopg.connect(url) as connection:
        row = connection.execute(f"SELECT count(*) FROM {SCHEMA}.events").fetchone()
        assert row is not None
        if row[0] < measured.answered:
            raise SystemExit("callbacks that were answered 200 are missing in the database")
    return measured


async def _drained(way: Way, server_id: int, count: int, chains: int) -> Drained:
    """Fill a backlog of finished grids, start the processes, and watch them while all but the first fifth is sent."""
    arrivals = Arrivals()
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "hookchain.toml").write_text(PRESS_ONE)
        async with stub(arrivals) as port:
            await _fill(way.url, chains)
            with _processes([["work"]] * count, Path(work), way.url, port) as ids:
                # The first arrive while processes are still starting.
                await arrivals.reach(chains // 5, within_s=PATIENCE_S)
                before, began_s = _taken_s(way, server_id, ids), time.perf_counter()
                already = len(arrivals)
                await arrivals.reach(chains, within_s=PATIENCE_S)
                elapsed_s = time.perf_counter() - began_s
                after = _taken_s(way, server_id, ids)
                # Let the last submissions be settled.
                await asyncio.sleep(0.5)
    server, proxy, upstream, idle, *ours = (
        (now - then) / elapsed_s for now, then in zip(after, before, strict=True)
    )
    return Drained(
        rate=(chains - already) / elapsed_s,
        ours=tuple(ours),
        server=server,
        proxy=proxy,
        upstream=upstream,
        others=max(0.0, len(CORES) - server - proxy - upstream - idle - sum(ours)),
        idle=idle,
    )


def _taken_s(way: Way, server_id: int, ids: Sequence[int]) -> list[float]:
    """Processor time so far of PostgreSQL with all its backends, of the proxy, of the upstream (which is this process), of nobody, and of ours."""
    server = cpu_of_all_s([server_id, *_children(server_id)])
    proxy = cpu_s(way.proxy_id) if way.proxy_id else 0.0
    return [server, proxy, cpu_s(os.getpid()), idle_s(), *(cpu_s(process_id) for process_id in ids)]


def _children(process_id: int) -> list[int]:
    return [
        int(child)
        for thread in Path(f"/proc/{process_id}/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]


def postmaster(url: str) -> int:
    """The id of the server's first process, from the file in its data directory."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    assert row is not None
    return int((Path(row[0]) / "postmaster.pid").read_text().split("\n", 1)[0])


def _socket(url: str) -> str:
    """The path of the socket that a server listens on (PostgreSQL: `.s.PGSQL.PORT` in its directory)."""
    with psycopg.connect(url) as connection:
        return f"{connection.info.host}/.s.PGSQL.{connection.info.port}"


async def _fill(url: str, chains: int) -> None:
    database = Database(url)
    await database.open()
    now_ms = time.time_ns() // 1_000_000
    waiting = [
        database.append(
            Incoming(
                upstream="main",
                task=decode_task(callback(f"18{number:012d}", "SUCCESS", 100)),
                submission_id="",
                source="callback",
                received_at_ms=now_ms,
            )
        )
        for number in range(chains)
    ]
    await asyncio.gather(*waiting)
    await database.close()


if __name__ == "__main__":
    main()
