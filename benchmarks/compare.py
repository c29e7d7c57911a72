"""`python -m benchmarks.compare [CHECKOUT …]`: this checkout beside others, each with its own `.venv`, by turns.

Three measurements. Ingest: callbacks a second over 64 connections. Follow-ups at saturation: all callbacks are sent at once, each of
a finished grid that a rule presses one button of, until the last press has arrived at the upstream. Follow-ups at 20 a second: how
long each takes. Callbacks are trusted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.load import Poster, percentile, saturate, stub_upstream, trickle
from benchmarks.payloads import callback, request
from benchmarks.targets import HOOK, ROOT, cpu_s, pin, watched_target

SETTINGS = """
[budget]
per_hour = 1000000

[[rules]]
name = "press-one"
on = "task.succeeded"
if = "task.is_grid"
press = "U1"

[upstreams.main]
verify = "trust"
concurrency = 32
"""

CONNECTIONS = 16
UNMEASURED = 50
"""Follow-ups before the measured ones: what the process does only once."""

LONGEST_S = 300.0
INGEST_S = 4.0


class Measured(NamedTuple):
    """One round of one checkout: units a second, and milliseconds of the server's processor time for each."""

    rate: float
    cpu_ms: float
    median_ms: float
    p99_ms: float


Round = Callable[[Path, int], Coroutine[Any, Any, Measured]]


def main() -> None:
    """Measure all checkouts by turns, and print the medians."""
    arguments = argparse.ArgumentParser(prog="benchmarks.compare", description=__doc__)
    arguments.add_argument("checkouts", nargs="*", type=Path, help="other checkouts to compare with")
    arguments.add_argument("--count", type=int, default=2_000, help="follow-ups in a round")
    arguments.add_argument("--rounds", type=int, default=3)
    given = arguments.parse_args()
    pin(1)
    checkouts = [ROOT, *(path.resolve() for path in given.checkouts)]
    _compare("ingest, 64 connections", _ingested, checkouts, given.count, given.rounds)
    _compare("follow-ups at saturation", _saturated, checkouts, given.count, given.rounds)
    _compare("follow-ups at 20 a second", _trickled, checkouts, min(given.count, 400), given.rounds)


def _compare(title: str, measure: Round, checkouts: Sequence[Path], count: int, rounds: int) -> None:
    results: dict[Path, list[Measured]] = {checkout: [] for checkout in checkouts}
    for _ in range(rounds):
        for checkout, measured in results.items():
            measured.append(uvloop.run(measure(checkout, count)))
    table = Table(title=f"{title} (medians of {rounds} rounds; all rates and processor times)")
    for heading in ("checkout", "a second", "processor ms", "median ms", "p99 ms", "all"):
        table.add_column(heading, justify="left" if heading == "checkout" else "right")
    for checkout, measured in results.items():
        table.add_row(
            "this" if checkout == ROOT else checkout.name,
            f"{statistics.median(one.rate for one in measured):,.0f}",
            f"{statistics.median(one.cpu_ms for one in measured):.3f}",
            f"{statistics.median(one.median_ms for one in measured):.1f}",
            f"{statistics.median(one.p99_ms for one in measured):.1f}",
            " ".join(f"{one.rate:.0f}/{one.cpu_ms:.2f}" for one in measured),
        )
    Console(width=120).print(table)


@contextlib.asynccontextmanager
async def _server(checkout: Path, arrived: dict[str, float]) -> AsyncIterator[tuple[int, int]]:
    """A server of the checkout that presses at an upstream of ours; its port and process."""
    stub = await asyncio.get_running_loop().create_server(lambda: stub_upstream(arrived), "127.0.0.1", 0)
    upstream_port = stub.sockets[0].getsockname()[1]
    async with stub:
        with tempfile.TemporaryDirectory() as work:
            (Path(work) / "hookchain.toml").write_text(SETTINGS)
            with watched_target(Path(work), upstream_port=upstream_port, checkout=checkout) as server:
                yield server


async def _ingested(checkout: Path, _count: int) -> Measured:
    with (
        tempfile.TemporaryDirectory() as work,
        watched_target(Path(work), checkout=checkout) as (port, process),
    ):
        await saturate([port], 0.5, 0)
        before_s = cpu_s(process)
        found = await saturate([port], INGEST_S, 1)
        cpu_ms = 1000 * (cpu_s(process) - before_s) / found.answered
        return Measured(found.rate, cpu_ms, found.p50_ms, found.p99_ms)


async def _trickled(checkout: Path, count: int) -> Measured:
    arrived: dict[str, float] = {}
    async with _server(checkout, arrived) as (port, process):
        await trickle(port, arrived, rate=20, count=20, first=0)
        before_s = cpu_s(process)
        found = (await trickle(port, arrived, rate=20, count=count, first=1000)).follow_up_ms
        cpu_ms = 1000 * (cpu_s(process) - before_s) / count
        return Measured(20.0, cpu_ms, percentile(found, 0.5), percentile(found, 0.99))


async def _saturated(checkout: Path, count: int) -> Measured:
    arrived: dict[str, float] = {}
    async with _server(checkout, arrived) as (port, process):
        await _send(port, arrived, UNMEASURED, first=0)
        before_s, began_s = cpu_s(process), time.perf_counter()
        await _send(port, arrived, count, first=UNMEASURED)
        taken = sorted(1000 * (at_s - began_s) for at_s in arrived.values() if at_s > began_s)
        cpu_ms = 1000 * (cpu_s(process) - before_s) / count
        return Measured(1000 * count / taken[-1], cpu_ms, percentile(taken, 0.5), percentile(taken, 0.99))


async def _send(port: int, arrived: dict[str, float], count: int, *, first: int) -> None:
    """Send the callbacks as fast as they are answered, and wait until each has its press."""
    ids = [f"19{first + number:012d}" for number in range(count)]
    await asyncio.gather(*(_post(port, ids[number::CONNECTIONS]) for number in range(CONNECTIONS)))
    give_up_s = time.perf_counter() + LONGEST_S
    while not all(task_id in arrived for task_id in ids):
        if time.perf_counter() > give_up_s:
            missing = sum(task_id not in arrived for task_id in ids)
            raise RuntimeError(f"{missing} of {count} follow-ups did not arrive within {LONGEST_S:.0f} s")
        await asyncio.sleep(0.02)


async def _post(port: int, ids: Sequence[str]) -> None:
    answered: dict[str, float] = {}
    loop = asyncio.get_running_loop()
    transport, poster = await loop.create_connection(lambda: Poster(answered), "127.0.0.1", port)
    for task_id in ids:
        poster.task_id = task_id
        poster.answer = loop.create_future()
        transport.write(request(HOOK, callback(task_id, "SUCCESS", 100)))
        await poster.answer
    transport.close()


if __name__ == "__main__":
    main()
