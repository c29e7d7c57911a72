"""`python -m benchmarks.worst_day`: everything at once on SQLite, and then whether anything was lost.

Callbacks at a steady rate for a minute, 200 open pages, pruning of two months of records, and a reconcile sweep over thousands of
tasks that nobody called about. Every twentieth grid is pressed by a rule.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import uvloop
from rich.console import Console

from benchmarks.filled_database import FilledDatabase, fill
from benchmarks.load import PATIENCE_S, percentile, steadily
from benchmarks.page_readers import Readers, reading, stream_paths
from benchmarks.payloads import PROMPT, STEPS, callback, request
from benchmarks.processes import Stretch, pin, resident_mb, watch
from benchmarks.targets import HOOK, watched_target
from benchmarks.upstream import Arrivals, stub

CONNECTIONS = 64
AT_ONCE = 400
"""Tasks that are on their way at the same time."""

PATIENCE = 4
"""After this many times the day's length no more is sent, however slow the server is."""

PRESSED = 20
"""Every so many-th grid has the prompt that the rule looks for."""

SETTINGS = """
[[rules]]
name = "press-herons"
on = "task.succeeded"
if = "task.is_grid and 'a heron at noon' in task.prompt"
press = "U1"

[retention]
progress_days = 1
chain_days = 30

[upstreams.main]
verify = "trust"
concurrency = 32
"""

OLD = "received_at_ms < (SELECT max(received_at_ms) FROM events) - 86400000"
RECONCILED = "source = 'reconcile'"


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the callbacks, and of the work beside them. Times in ms from when a callback was due; `stretch`: from the first
    callback to the last answer; `reader_cpu`: a share of a core.

    `lost`: callbacks that were answered 200 and are not in the database. `pruned`, `reconciled`: events.
    """

    planned: int
    sent: int
    refused: int
    lost: int
    p50_ms: float
    p99_ms: float
    slowest_ms: float
    stretch: Stretch
    reader_cpu: float
    resident_mb: float
    pages: Readers
    pruned: int
    reconciled: int
    pressed: int
    to_press: int
    pressed_twice: int


def main() -> None:
    """Measure, print, and exit with 1 if anything was lost or pressed twice."""
    parser = argparse.ArgumentParser(prog="benchmarks.worst_day", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rate", type=int, default=2_000, help="callbacks a second")
    parser.add_argument("--pages", type=int, default=200, help="open pages, a multiple of four")
    parser.add_argument("--tasks", type=int, default=100_000, help="in the file before")
    parser.add_argument("--running", type=int, default=1_000, help="chains of which nobody calls")
    given = parser.parse_args()
    pin(1)
    with tempfile.TemporaryDirectory() as work:
        database = fill(f"sqlite:///{work}/hookchain.db", given.tasks, live_chains=given.running)
        day = uvloop.run(
            measure(Path(work), database, seconds=given.seconds, rate=given.rate, pages=given.pages)
        )
    show(day)
    if day.lost or day.pressed_twice:
        raise SystemExit(1)


async def measure(directory: Path, database: FilledDatabase, *, seconds: int, rate: int, pages: int) -> Day:
    """Run the day on a filled file. The server starts with it, so pruning and the sweep begin with the first callbacks."""
    (directory / "hookchain.toml").write_text(SETTINGS)
    file = directory / "hookchain.db"
    old = _count(file, OLD)
    arrivals = Arrivals()
    requests = _requests(seconds * rate // len(STEPS), until_s=time.monotonic() + PATIENCE * seconds)
    async with stub(arrivals) as upstream_port:
        with (
            watched_target(directory, upstream_port=upstream_port) as (port, process_id),
            reading(port, stream_paths(database, pages)) as readers,
        ):
            end = watch((process_id,), 0)
            due, answered = await steadily(port, requests, rate, connections=CONNECTIONS)
            stretch = end()
            report = await asyncio.to_thread(readers)
            to_press = sum(key in due for key in _pressed(seconds * rate // len(STEPS)))
            await arrivals.reach(to_press, within_s=PATIENCE_S)
            megabytes = resident_mb(process_id)
    times = sorted((answered[key] - due[key]) * 1000 for key in answered)
    return Day(
        planned=seconds * rate,
        sent=len(due),
        refused=len(due) - len(answered),
        lost=len(answered.keys() - _kept(file)),
        p50_ms=percentile(times, 0.5),
        p99_ms=percentile(times, 0.99),
        slowest_ms=times[-1],
        stretch=stretch,
        reader_cpu=report.cpu_s / stretch.elapsed_s,
        resident_mb=megabytes,
        pages=report,
        pruned=old - _count(file, OLD),
        reconciled=_count(file, RECONCILED),
        pressed=len(arrivals),
        to_press=to_press,
        pressed_twice=arrivals.repeated,
    )


def _requests(tasks: int, *, until_s: float) -> Iterator[tuple[str, bytes]]:
    """The callbacks of these tasks by their keys, as `_kept` makes them: step by step for `AT_ONCE` tasks, then the next ones.

    `until_s`: the time, by the monotonic clock, after which no further tasks begin.
    """
    for first in range(0, tasks, AT_ONCE):
        if time.monotonic() > until_s:
            return
        now_ms = time.time_ns() // 1_000_000
        for status, percent in STEPS:
            for number in range(first, min(first + AT_ONCE, tasks)):
                task_id = f"15{number:012d}"
                prompt = f"a heron at noon, {PROMPT}" if number % PRESSED == 0 else PROMPT
                body = callback(task_id, status, percent, prompt=prompt, submitted_at_ms=now_ms)
                yield f"{task_id} {status} {percent}", request(HOOK, body)


def _pressed(tasks: int) -> Iterator[str]:
    """The keys of the callbacks that the rule answers with a press."""
    status, percent = STEPS[-1]
    return (f"15{number:012d} {status} {percent}" for number in range(0, tasks, PRESSED))


def _kept(file: Path) -> set[str]:
    """The callbacks in the database."""
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute(
            "SELECT task_id, status, progress FROM events WHERE source = 'callback' AND task_id LIKE '15%'"
        )
        return {f"{task_id} {status} {percent}" for task_id, status, percent in rows}


def _count(file: Path, condition: str) -> int:
    with closing(sqlite3.connect(file)) as connection:
        (found,) = connection.execute(f"SELECT count(*) FROM events WHERE {condition}").fetchone()
        return int(found)


def show(day: Day) -> None:
    """Print what a user would want to know of such a day."""
    messages, stretch = day.pages.messages, day.stretch
    Console(width=110).print(
        f"{day.sent:,} of {day.planned:,} callbacks in {stretch.elapsed_s:.0f} s ({day.sent / stretch.elapsed_s:,.0f} a second): "
        f"answered after {day.p50_ms:.1f} ms at the median, p99 {day.p99_ms:.1f}, slowest {day.slowest_ms:.0f}\n"
        f"answered otherwise than 200: {day.refused}; answered 200 and not in the database: {day.lost}\n"
        f"beside them: {len(messages)} pages with {sum(messages):,} messages and {day.pages.reconnects} reconnects, "
        f"{day.pruned:,} events pruned, {day.reconciled:,} reconciled, "
        f"{day.pressed:,} of {day.to_press:,} grids pressed, {day.pressed_twice} twice\n"
        f"server: {1000 * stretch.cpu_s / day.sent:.2f} ms of processor for each callback with all that was beside it, "
        f"{stretch.cpu_s / stretch.elapsed_s:.0%} of a core where others left it {stretch.available_s / stretch.elapsed_s:.0%}; "
        f"{day.resident_mb:.0f} MB; readers: {day.reader_cpu:.1%} of a core"
    )


if __name__ == "__main__":
    main()
