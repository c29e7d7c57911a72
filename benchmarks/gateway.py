"""`python -m benchmarks.gateway`: what the gateway adds to a submission, and how quickly clients that poll are answered.

Submissions go by turns to the upstream itself and through the gateway, so that a busy machine slows both; and again while large blends
go through it. Then many clients poll their tasks, which make progress.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import uvloop
from rich.console import Console

from benchmarks.calls import connected, get, post
from benchmarks.load import percentile
from benchmarks.payloads import PROMPT, callback, request
from benchmarks.processes import Stretch, forget_peak, peak_mb, pin, resident_mb, until_quiet, watch
from benchmarks.slow_upstream import PREFIX, Asked, slow_upstream
from benchmarks.targets import HOOK, watched_target

KEY = "a-key-for-the-benchmark-0123456789"
TAKES_S = 0.03
"""How long the upstream takes for a submission. Real ones take from 0.05 s to seconds."""

CALLBACKS_A_SECOND = 50

SETTINGS = f"""
[clients.bench]
key = "{KEY}"
queue_max = 100000

[upstreams.main]
verify = "trust"
concurrency = 32
"""


class Running(NamedTuple):
    """A task that was ordered: its ticket, and the upstream's id."""

    ticket: str
    id: str


class _Result(msgspec.Struct):
    result: str


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of submissions at the upstream itself and through the gateway, in pairs."""

    direct_ms: list[float]
    through_ms: list[float]

    @property
    def added_ms(self) -> list[float]:
        """What the gateway added, pair by pair, ordered."""
        return sorted(
            through - direct for direct, through in zip(self.direct_ms, self.through_ms, strict=True)
        )


class Blended(msgspec.Struct, frozen=True, kw_only=True):
    """Small submissions beside large ones: how many large ones went through, of how many MB, and how many MB the process held more at
    most."""

    compared: Compared
    blends: int
    blend_mb: float
    grown_mb: float


class Polled(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of the polls, ordered; what the upstream was asked meanwhile, and without polls for as long; the server's
    processor time and memory."""

    fetch_ms: list[float]
    reads_with: int
    reads_without: int
    stretch: Stretch
    megabytes: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.gateway", description=__doc__)
    parser.add_argument(
        "--pairs", type=int, default=200, help="submissions at the upstream and through the gateway"
    )
    parser.add_argument("--clients", type=int, default=200, help="clients that poll")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two polls of a client")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument(
        "--database", default="", help="an empty PostgreSQL database; a SQLite file if not given"
    )
    given = parser.parse_args()
    pin(1)
    with tempfile.TemporaryDirectory() as work:
        uvloop.run(_measure(Path(work), given))


async def _measure(directory: Path, given: argparse.Namespace) -> None:
    (directory / "hookchain.toml").write_text(SETTINGS)
    asked = Asked()
    async with slow_upstream(asked, TAKES_S) as upstream_port:
        with watched_target(directory, database_url=given.database, upstream_port=upstream_port) as (
            port,
            pid,
        ):
            compared = await compare(port, upstream_port, given.pairs)
            _show_compared(compared)
            _show_blended(await beside_blends(port, upstream_port, pid, given.pairs // 4))
            tasks = await _running_tasks(port, given.clients, asked)
            polled = await poll(port, pid, tasks, asked, every_s=given.every, seconds=given.seconds)
            _show_polled(polled, given.clients, given.every)


async def compare(port: int, upstream_port: int, pairs: int) -> Compared:
    """Submit by turns at the upstream and through the gateway."""
    direct, through = await connected(upstream_port), await connected(port)
    ordered: dict[str, list[float]] = {"direct": [], "through": []}
    for number in range(pairs + 20):
        content = post("/mj/submit/imagine", {"prompt": f"{PROMPT} {number}"}, KEY)
        for name, caller in (("direct", direct), ("through", through)):
            took = await caller.call(content)
            if took.status != 200 or b'"code":1,' not in took.body:
                raise RuntimeError(f"a submission was answered {took.status} {took.body!r}")
            ordered[name].append(took.took_ms)
    # The first ones open connections and compile statements.
    return Compared(direct_ms=ordered["direct"][20:], through_ms=ordered["through"][20:])


async def beside_blends(port: int, upstream_port: int, pid: int, pairs: int) -> Blended:
    """Submit by turns while another client sends blends of five pictures of 8 MB, one after the other."""
    blend = post("/mj/submit/blend", {"base64Array": [_picture(number) for number in range(5)]}, KEY)
    sender = await connected(port)
    await sender.call(blend)  # what a process needs for any large body is there from now on
    until_quiet(pid)
    before_mb = resident_mb(pid)
    forget_peak(pid)
    enough = asyncio.Event()

    async def send() -> int:
        sent = 0
        while not sent or not enough.is_set():
            took = await sender.call(blend)
            if b'"code":1,' not in took.body:
                raise RuntimeError(f"a blend was answered {took.status} {took.body!r}")
            sent += 1
        return sent

    async with asyncio.TaskGroup() as group:
        sending = group.create_task(send())
        compared = await compare(port, upstream_port, pairs)
        enough.set()
    grown_mb = peak_mb(pid) - before_mb
    return Blended(compared=compared, blends=sending.result(), blend_mb=len(blend) / 1e6, grown_mb=grown_mb)


def _picture(number: int) -> str:
    """A picture of 8 MB as a data URL, which differs from the others."""
    return f"data:image/png;base64,iVBORw0KGgoA{'ABCDE'[number] * (8 * 1024 * 1024)}"


async def _running_tasks(port: int, count: int, asked: Asked) -> list[Running]:
    """Order this many tasks, one after the other."""
    caller = await connected(port)
    tasks = []
    for number in range(count):
        took = await caller.call(post("/mj/submit/imagine", {"prompt": f"polled {number}"}, KEY))
        ticket = msgspec.json.decode(took.body, type=_Result).result
        tasks.append(Running(ticket, f"{PREFIX}{asked['submit']:014d}"))
    return tasks


async def poll(
    port: int, pid: int, tasks: Sequence[Running], asked: Asked, *, every_s: float, seconds: float
) -> Polled:
    """Let callbacks tell of progress, at first without polls and then beside clients that poll, each its task, for as long."""
    async with asyncio.TaskGroup() as group:
        progress = group.create_task(_progress(port, tasks))
        before = asked["read"]
        await asyncio.sleep(seconds)
        without = asked["read"] - before
        took: list[float] = []
        end = watch((pid,), 0)
        before, until = asked["read"], time.perf_counter() + seconds
        async with asyncio.TaskGroup() as clients:
            for number, task in enumerate(tasks):
                first_s = every_s * number / len(tasks)
                clients.create_task(_client(port, task.ticket, first_s, every_s, until, took))
        stretch, with_polls = end(), asked["read"] - before
        progress.cancel()
    return Polled(
        fetch_ms=sorted(took),
        reads_with=with_polls,
        reads_without=without,
        stretch=stretch,
        megabytes=resident_mb(pid),
    )


async def _client(
    port: int, ticket: str, first_s: float, every_s: float, until: float, took: list[float]
) -> None:
    caller, question = await connected(port), get(f"/mj/task/{ticket}/fetch", KEY)
    await asyncio.sleep(first_s)
    while time.perf_counter() < until:
        answered = await caller.call(question)
        if answered.status != 200:
            raise RuntimeError(f"a fetch was answered {answered.status} {answered.body!r}")
        took.append(answered.took_ms)
        await asyncio.sleep(every_s)


async def _progress(port: int, tasks: Sequence[Running]) -> None:
    """Tell of progress of all tasks by turns, for as long as it takes."""
    caller = await connected(port)
    for percent in range(1, 100):
        for task in tasks:
            await caller.call(request(HOOK, callback(task.id, "IN_PROGRESS", percent)))
            await asyncio.sleep(1 / CALLBACKS_A_SECOND)


def _show_compared(compared: Compared) -> None:
    direct, through = statistics.median(compared.direct_ms), statistics.median(compared.through_ms)
    added = compared.added_ms
    Console(width=110).print(
        f"{len(added)} submissions by turns: {direct:.1f} ms at the upstream itself, {through:.1f} ms through the gateway, "
        f"which adds {statistics.median(added):.1f} ms at the median and {percentile(added, 0.95):.1f} at p95"
    )


def _show_blended(blended: Blended) -> None:
    added = blended.compared.added_ms
    Console(width=110).print(
        f"beside blends of {blended.blend_mb:.0f} MB, of which {blended.blends} went through: small submissions take "
        f"{statistics.median(added):.1f} ms more at the median and {percentile(added, 0.95):.1f} at p95; "
        f"the process held up to {blended.grown_mb:.1f} MB more"
    )


def _show_polled(polled: Polled, clients: int, every_s: float) -> None:
    took, stretch = polled.fetch_ms, polled.stretch
    Console(width=110).print(
        f"{clients} clients that poll every {every_s:g} s, beside {CALLBACKS_A_SECOND} callbacks a second: {len(took)} polls, "
        f"answered after {percentile(took, 0.5):.1f} ms at the median, p95 {percentile(took, 0.95):.1f}, p99 {percentile(took, 0.99):.1f}; "
        f"questions to the upstream: {polled.reads_with} with them, {polled.reads_without} without for as long\n"
        f"server: {stretch.cpu_s / stretch.elapsed_s:.0%} of a core where others left it {stretch.available_s / stretch.elapsed_s:.0%}, "
        f"{polled.megabytes:.0f} MB"
    )


if __name__ == "__main__":
    main()
