"""Measure PostgreSQL: what one, two and four processes receive and submit, and how the claims find their rows in a million."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.load import saturate, stub_upstream
from benchmarks.payloads import callback
from benchmarks.targets import CORES, ROOT, SECRET, free_port, wait_for
from midjourney.decode import decode_task
from storage.deliveries import sql as deliveries_sql
from storage.driver.statements import Query
from storage.engine import Connection, Database
from storage.migrate import migrate
from storage.records import Incoming
from storage.schema import SCHEMA
from storage.submissions import sql as submissions_sql
from tests.support.postgres import empty, running

RULE = '[[rules]]\nname = "press-one"\non = "task.succeeded"\nif = "task.is_grid"\npress = "U1"\n'
PROCESSES = (1, 2, 4)


def measure(*, seconds: float, chains: int, rows: int) -> None:
    """Run all measurements on a separate server with fsync and synchronous_commit on."""
    console = Console(width=110)
    with running() as server:
        migrate(server.url)
        table = Table(title=f"PostgreSQL 18; it, the senders and all processes share {len(CORES)} cores")
        for heading in (
            "processes",
            "callbacks/s",
            "ratio to one",
            "p50 ms",
            "p99 ms",
            "follow-ups/s",
            "ratio to one",
        ):
            table.add_column(heading, justify="right")
        first: tuple[float, float] | None = None
        for count in PROCESSES:
            empty(server.url)
            received, p50_ms, p99_ms = _received(server.url, count, seconds)
            empty(server.url)
            sent = _submitted(server.url, count, chains)
            first = first or (received, sent)
            table.add_row(
                str(count),
                f"{received:,.0f}",
                f"{received / first[0]:.2f}",
                f"{p50_ms:.1f}",
                f"{p99_ms:.1f}",
                f"{sent:,.0f}",
                f"{sent / first[1]:.2f}",
            )
        console.print(
            table,
            "receive: `serve --no-worker`, 64 connections. submit: `work`, a backlog of finished grids\n",
        )
        empty(server.url)
        _plans(console, server.url, rows)


@contextlib.contextmanager
def _processes(
    commands: list[list[str]], directory: Path, url: str, upstream_port: int
) -> Iterator[list[subprocess.Popen[bytes]]]:
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": url,
        "HOOKCHAIN_SECRET": SECRET,
        "HOOKCHAIN_UPSTREAM_URL": f"http://127.0.0.1:{upstream_port}",
        "HOOKCHAIN_UPSTREAM_CONCURRENCY": "64",
        "HOOKCHAIN_UPSTREAM_VERIFY": "trust",
        "HOOKCHAIN_BUDGET_PER_HOUR": "1000000",
        "HOOKCHAIN_QUOTAS_BYTES_PER_HOUR": "0",
        "HOOKCHAIN_QUOTAS_TASKS_PER_HOUR": "0",
        "LOG_LEVEL": "warning",
    }
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "hookchain", *command],
            cwd=directory,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        for command in commands
    ]
    try:
        yield started
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(30)


def _received(url: str, count: int, seconds: float) -> tuple[float, float, float]:
    """Callbacks per second, answered after their commit, and p50 and p99 in ms."""
    ports = [free_port() for _ in range(count)]
    commands = [["serve", "--no-worker", "--port", str(port)] for port in ports]
    with tempfile.TemporaryDirectory() as work, _processes(commands, Path(work), url, 9) as started:
        for port, process in zip(ports, started, strict=True):
            wait_for(port, process)
        measured = uvloop.run(saturate(ports, seconds, count))
    with psycopg.connect(url) as connection:
        row = connection.execute(f"SELECT count(*) FROM {SCHEMA}.events").fetchone()
        assert row is not None
        if row[0] < measured.answered:
            raise SystemExit("callbacks that were answered 200 are missing in the database")
    return measured.rate, measured.p50_ms, measured.p99_ms


def _submitted(url: str, count: int, chains: int) -> float:
    """Follow-ups per second for a backlog of finished grids, from the first to the last."""
    return uvloop.run(_drained(url, count, chains))


class _Arrived(dict[str, float]):
    """The arrival time of each follow-up. Sets `complete` once all have arrived."""

    def __init__(self, expected: int, complete: asyncio.Event) -> None:
        super().__init__()
        self._expected = expected
        self._complete = complete

    def __setitem__(self, task_id: str, at: float) -> None:
        super().__setitem__(task_id, at)
        if len(self) >= self._expected:
            self._complete.set()


async def _drained(url: str, count: int, chains: int) -> float:
    await _fill(url, chains)
    complete = asyncio.Event()
    arrived = _Arrived(chains, complete)
    stub = await asyncio.get_running_loop().create_server(lambda: stub_upstream(arrived), "127.0.0.1", 0)
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "hookchain.toml").write_text(RULE)
        async with stub:
            port = stub.sockets[0].getsockname()[1]
            with _processes([["work"]] * count, Path(work), url, port):
                await complete.wait()
                times = sorted(arrived.values())
                # Let the last submissions be settled.
                await asyncio.sleep(0.5)
    # Without the first fifth, which arrives while processes are still starting.
    later = times[chains // 5 :]
    return len(later) / (later[-1] - later[0])


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


_MANY = f"""
INSERT INTO {SCHEMA}.submissions (id, idempotency_key, chain_id, upstream, kind, label, request, parent_id, depth, asked_by,
  lane, priority, queue_at_ms, state, outcome, reason, task_ids, worker, attempts, forgiven, repeats, run_at_ms,
  created_at_ms, updated_at_ms)
SELECT 's' || n, 'k' || n, 'c' || n / 4, 'main', 'action', 'U' || n % 4, '', 't' || n / 4, 1, 'rule:x',
  CASE WHEN n % 2 = 0 THEN 'main|t' || n / 4 ELSE '' END, 0, n, CASE WHEN n % 1000 = 0 THEN 'waiting' ELSE 'accepted' END,
  '', '', '[]', '', 1, 0, 0, n, n, n FROM generate_series(1, ROWS) n;
INSERT INTO {SCHEMA}.tasks (upstream, id, status, progress, action, chain_id, submission_id, parent_id, depth, created_at_ms,
  updated_at_ms, finished_at_ms, misses)
SELECT 'main', 'child' || n, 'SUCCESS', 100, 'UPSCALE', 'c' || n / 4, 's' || n, 't' || n / 4, 1, n, n, n, 0
  FROM generate_series(1, ROWS) n;
INSERT INTO {SCHEMA}.deliveries (event_id, receiver, lane, state, worker, attempts, excused, run_at_ms, fired, decision, error,
  created_at_ms, updated_at_ms)
SELECT n, 'rule:x', 'main|t' || n / 4, CASE WHEN n % 1000 = 0 THEN 'waiting' ELSE 'done' END, '', 1, 0, n, false, '', '',
  n, n FROM generate_series(1, ROWS) n
"""


def _plans(console: Console, url: str, rows: int) -> None:
    """Print how the two claims find due rows among this many rows in each table."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in _MANY.replace("ROWS", str(rows)).split(";"):
            connection.execute(statement)
        connection.execute("ANALYZE")
    plans = asyncio.run(_explained(url))
    table = Table(title=f"claims with {rows:,} rows in each table, a thousandth of them waiting")
    for heading in ("claim", "ms", "finds its rows by"):
        table.add_column(heading)
    for name, lines in plans.items():
        taken = statistics.median(
            float(line.split()[2]) for line in lines if line.startswith("Execution Time")
        )
        scans = [line.strip(" ->").split("  (")[0] for line in lines if "Scan" in line]
        table.add_row(name, f"{taken:.2f}", "\n".join(scans))
        if any("Seq Scan on submissions" in line or "Seq Scan on deliveries" in line for line in scans):
            raise SystemExit(f"the claim of {name} reads a whole table:\n" + "\n".join(lines))
    console.print(table)


async def _explained(url: str) -> dict[str, list[str]]:
    database = Database(url)
    await database.open()

    now_ms = time.time_ns() // 1_000_000

    deliveries_due = Query(f"EXPLAIN (ANALYZE) {deliveries_sql.DUE.text}", str)

    def explain(connection: Connection) -> dict[str, list[str]]:
        return {
            "submissions": Query(f"EXPLAIN (ANALYZE) {submissions_sql.DUE.text}", str).all(
                connection, upstream="main", now_ms=now_ms, held_since_ms=0, most=8
            ),
            "deliveries": deliveries_due.all(connection, now_ms=now_ms, most=64, full=[]),
        }

    try:
        return await database.write("explain", explain)
    finally:
        await database.close()
