"""`make bench`: measure durable ingest relative to a bare route, the time from a callback to its follow-up, memory, and pages."""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import statistics
import tempfile
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import live, memory, pages, postgres, recorded
from benchmarks.load import Latencies, Throughput, percentile, saturate, stub_upstream, trickle
from benchmarks.targets import pin, pin_to_all, target

RULE = """
[[rules]]
name = "press-one"
on = "task.succeeded"
if = "task.is_grid"
press = "U1"
"""


def main() -> None:
    """Measure and print. Exits with 0 whatever the figures are, because timings must not fail a build."""
    arguments = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    arguments.add_argument(
        "--quick", action="store_true", help="run for a few seconds, to check that it works"
    )
    quick = arguments.parse_args().quick
    pinning = pin(1)
    Console(width=110).print(f"server on core 0, senders on core 1: {pinning}; SQLite with synchronous=FULL")
    _ingest(rounds=1 if quick else 3, seconds=1.0 if quick else 4.0)
    _latency(count=40 if quick else 400)
    memory.measure(seconds=2 if quick else 60, pictures=6 if quick else 24)
    recorded.measure(2_900 if quick else 100_000)
    pages.measure(tasks=2_000 if quick else 100_000, requests=5 if quick else 30)
    live.measure(tasks=2_000 if quick else 100_000, seconds=1.0 if quick else 5.0, rounds=1 if quick else 6)
    pin_to_all()
    postgres.measure(
        seconds=1.0 if quick else 4.0, chains=400 if quick else 4_000, rows=20_000 if quick else 1_000_000
    )


def _ingest(*, rounds: int, seconds: float) -> None:
    results: dict[str, list[Throughput]] = {"bare": [], "bounded": [], "hookchain": [], "naive": []}
    for number in range(rounds):
        for name, measured in results.items():
            with tempfile.TemporaryDirectory() as work, target(name, Path(work)) as port:
                measured.append(uvloop.run(saturate([port], seconds, number)))
                if name == "hookchain":
                    _check_stored(Path(work), measured[-1].answered)
    table = Table(title="durable ingest, 64 keep-alive connections, 1.3 to 2.4 kB per callback (medians)")
    for heading in ("server", "requests/s", "ratio to bare", "p50 ms", "p99 ms", "senders' CPU"):
        table.add_column(heading, justify="left" if heading == "server" else "right")
    bare = statistics.median(result.rate for result in results["bare"])
    for name, measured in results.items():
        rate = statistics.median(result.rate for result in measured)
        table.add_row(
            name,
            f"{rate:,.0f}",
            f"{rate / bare:.2f}",
            f"{statistics.median(result.p50_ms for result in measured):.1f}",
            f"{statistics.median(result.p99_ms for result in measured):.1f}",
            f"{statistics.median(result.sender_cpu for result in measured):.0%}",
        )
    Console(width=110).print(
        table,
        "goal: hookchain at 0.50 or more. bounded: the bare route behind the limits of hooks/http. naive: one INSERT and COMMIT per request, without a task table\n",
    )


def _check_stored(directory: Path, answered: int) -> None:
    with sqlite3.connect(directory / "hookchain.db") as connection:
        (stored,) = connection.execute("SELECT count(*) FROM events").fetchone()
    Console(width=110).print(f"answered {answered:,}, stored {stored:,}")
    if stored < answered:
        raise SystemExit("callbacks that were answered 200 are missing in the database")


def _latency(*, count: int) -> None:
    table = Table(title="20 callbacks per second, each with one follow-up; ms from when each was due")
    for heading in ("what", "p50", "p90", "p99", "max", "count"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    bare = uvloop.run(_trickled("bare", count))
    trusted = uvloop.run(_trickled("hookchain", count, "trust"))
    ours = uvloop.run(_trickled("hookchain", count, "fetch"))
    _row(table, "bare route: answer (this machine's floor)", bare.answer_ms)
    _row(table, "hookchain: answer, callback stored", ours.answer_ms)
    _row(table, "hookchain: follow-up, callback trusted", trusted.follow_up_ms)
    _row(table, "hookchain: follow-up, task read back first", ours.follow_up_ms)
    Console(width=110).print(
        table, "goal: follow-up p50 below 5 ms, p99 below 15 ms (above the floor's own p99)"
    )


def _row(table: Table, label: str, ordered_ms: list[float]) -> None:
    percentiles = [f"{percentile(ordered_ms, share):.2f}" for share in (0.5, 0.9, 0.99, 1.0)]
    table.add_row(label, *percentiles, str(len(ordered_ms)))


async def _trickled(name: str, count: int, verify: str = "fetch") -> Latencies:
    arrived: dict[str, float] = {}
    stub = await asyncio.get_running_loop().create_server(lambda: stub_upstream(arrived), "127.0.0.1", 0)
    async with stub:
        with tempfile.TemporaryDirectory() as work:
            (Path(work) / "hookchain.toml").write_text(f'{RULE}\n[upstreams.main]\nverify = "{verify}"\n')
            with target(name, Path(work), upstream_port=stub.sockets[0].getsockname()[1]) as port:
                # Not measured: what the process does only once.
                await trickle(port, arrived, rate=20, count=20, first=0)
                return await trickle(port, arrived, rate=20, count=count, first=1000)


if __name__ == "__main__":
    main()
