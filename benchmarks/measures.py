"""What is measured of a server: ingest, twenty callbacks a second, and follow-ups at saturation. One round of each."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import msgspec

from benchmarks.contenders import Contender, Running, Start
from benchmarks.load import PATIENCE_S, burst, grids, percentile, saturate, trickle
from benchmarks.processes import Stretch, resident_mb, watch
from benchmarks.upstream import Arrivals, stub

RATE = 20
"""Callbacks a second, as some twenty busy accounts send them."""

UNMEASURED = 50
"""Follow-ups before the measured ones: what a process does only once."""


IDS_A_ROUND = 1_000_000


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How much a round does. `trickled` and `burst` 0: ingest alone. `trickled` 0: without the measurement at twenty a second. `burst_s`: instead of `burst`, about as many
    follow-ups as take this long, by the rate of those that are not measured."""

    ingest_s: float = 4.0
    trickled: int = 300
    burst: int = 3_000
    burst_s: float = 0.0


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Median and 99 % of a time in milliseconds."""

    p50_ms: float
    p99_ms: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """A round of one server; None is what it does not do.

    Rates per second; `…_core_rate`: per second in which others left it the core, so that a busy machine matters little; `…_cpu_ms`: milliseconds of its processes' time for each; `resident_mb`: after the follow-ups at saturation.
    """

    ingest_rate: float | None = None
    ingest_core_rate: float | None = None
    ingest_cpu_ms: float | None = None
    sender_cpu: float | None = None
    answer: Spread | None = None
    follow_up: Spread | None = None
    follow_up_rate: float | None = None
    follow_up_core_rate: float | None = None
    follow_up_cpu_ms: float | None = None
    resident_mb: float | None = None


async def measured(contender: Contender, size: Size, run: int) -> Figures:
    """One round. `run`: a number below 50 that makes ids differ from those of other rounds on the same database."""
    assert contender.start is not None
    figures = Figures()
    if contender.stores:
        figures = await _ingested(contender, contender.start, size.ingest_s, run)
    if not (size.trickled or size.burst or size.burst_s):
        return figures
    arrivals = Arrivals()
    async with stub(arrivals) as upstream_port:
        with (
            tempfile.TemporaryDirectory() as work,
            contender.start(Path(work), upstream_port, contender.follows) as running,
        ):
            return await chained(
                running, arrivals, size, figures, follows=contender.follows, first=run * IDS_A_ROUND
            )


async def _ingested(contender: Contender, start: Start, seconds: float, run: int) -> Figures:
    with tempfile.TemporaryDirectory() as work:
        with start(Path(work), 9, False) as running:
            figures, answered = await ingested(running, seconds, run)
        if contender.kept_in is not None:
            _check(Path(work), *contender.kept_in, answered)
    return figures


def _check(directory: Path, file: str, table: str, answered: int) -> None:
    with sqlite3.connect(directory / file) as connection:
        (kept,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    if kept < answered:
        raise RuntimeError(f"it answered {answered} callbacks and kept {kept}")


async def ingested(running: Running, seconds: float, run: int) -> tuple[Figures, int]:
    """Callbacks over 64 connections, each answered before its connection sends the next one; and how many were answered."""
    warm = await saturate([running.port], min(0.5, seconds), run + 50, path=running.path)
    end = watch(running.process_ids, running.core)
    found = await saturate([running.port], seconds, run, path=running.path)
    stretch = end()
    figures = Figures(
        ingest_rate=found.rate,
        ingest_core_rate=found.rate * stretch.elapsed_s / stretch.available_s,
        ingest_cpu_ms=1000 * stretch.cpu_s / found.answered,
        sender_cpu=found.sender_cpu,
    )
    return figures, warm.answered + found.answered


async def chained(
    running: Running, arrivals: Arrivals, size: Size, figures: Figures, *, follows: bool, first: int
) -> Figures:
    """`figures` with what callbacks of finished grids show: twenty a second, and then as many as the server takes.

    `first`: the number of the first grid, since each is pressed once in the life of a database.
    """
    before = len(arrivals)
    await burst(running.port, grids(range(first, first + UNMEASURED), running.path))
    first += UNMEASURED
    if follows:
        await arrivals.reach(before + UNMEASURED, within_s=PATIENCE_S)
    if size.trickled:
        times = await trickle(
            running.port, arrivals, rate=RATE, count=size.trickled, first=first, path=running.path
        )
        first += size.trickled
        figures = msgspec.structs.replace(
            figures, answer=_spread(times.answer_ms), follow_up=_spread(times.follow_up_ms)
        )
    if not follows:
        return figures
    number = size.burst
    if size.burst_s:
        stretch = await _saturated(running, arrivals, UNMEASURED * 2, first)
        first += UNMEASURED * 2
        number = max(UNMEASURED * 4, int(UNMEASURED * 2 / stretch.elapsed_s * size.burst_s))
    stretch = await _saturated(running, arrivals, number, first)
    return msgspec.structs.replace(
        figures,
        follow_up_rate=number / stretch.elapsed_s,
        follow_up_core_rate=number / stretch.available_s,
        follow_up_cpu_ms=1000 * stretch.cpu_s / number,
        resident_mb=sum(resident_mb(process_id) for process_id in running.process_ids),
    )


async def _saturated(running: Running, arrivals: Arrivals, number: int, first: int) -> Stretch:
    """The stretch from the first callback to the last follow-up."""
    requests, before = grids(range(first, first + number), running.path), len(arrivals)
    end = watch(running.process_ids, running.core)
    await burst(running.port, requests)
    await arrivals.reach(before + number, within_s=PATIENCE_S)
    return end()


def _spread(ordered_ms: list[float]) -> Spread | None:
    if not ordered_ms:
        return None
    return Spread(p50_ms=percentile(ordered_ms, 0.5), p99_ms=percentile(ordered_ms, 0.99))
