"""Measure how much open pages slow down callbacks: in turns without and with 200 streams, on a server with 100,000 tasks and
a worker."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.filled_database import FilledDatabase, fill
from benchmarks.load import Throughput, saturate
from benchmarks.made_up_records import STARTED
from benchmarks.page_readers import STREAMS, reading, stream_paths
from benchmarks.pages import RULES
from benchmarks.payloads import callback, request
from benchmarks.processes import cpu_s, resident_mb, until_quiet
from benchmarks.targets import HOOK, watched_target

CHAIN_CONNECTIONS = 8
"""The number of the 64 connections that send callbacks about tasks of the chains on open pages."""

GOAL = 0.10
"""The highest acceptable share of CPU time that 200 pages add."""


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a turn. `cpu_us`: CPU time of the server in microseconds per callback. `messages`: of each stream."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    sender_cpu: float
    reader_cpu: float = 0.0
    messages: tuple[int, ...] = ()
    megabytes: float = 0.0
    reconnects: int = 0


def measure(*, tasks: int, seconds: float, rounds: int) -> None:
    """Fill a file, start a server with its worker and a rule, and send callbacks at saturation in turns."""
    with tempfile.TemporaryDirectory() as work:
        database = fill(f"sqlite:///{work}/hookchain.db", tasks)
        run_rounds(Path(work), database, seconds=seconds, rounds=rounds)


def run_rounds(directory: Path, database: FilledDatabase, *, seconds: float, rounds: int) -> None:
    """Measure in turns on a filled database, and print the results."""
    (directory / "hookchain.toml").write_text(RULES)
    results: dict[bool, list[Measurement]] = {False: [], True: []}
    about = _about(database, 2 * rounds + 2)
    with watched_target(directory) as (port, process_id):
        memory = {"at the start": resident_mb(process_id)}
        # Not measured: what the server does only once.
        _measure_turn(port, process_id, database, next(about), seconds / 2, 90, with_pages=True)
        memory["before pages"] = resident_mb(process_id)
        for number in range(rounds):
            order = (False, True) if number % 2 == 0 else (True, False)
            for with_pages in order:
                run = 2 * number + with_pages
                turn = _measure_turn(
                    port, process_id, database, next(about), seconds, run, with_pages=with_pages
                )
                results[with_pages].append(turn)
        memory["after pages"] = resident_mb(process_id)
        with reading(port, ["/live/gallery"] * STREAMS, slow=True):
            uvloop.run(saturate([port], seconds, 91, others=next(about)))
            memory[f"with {STREAMS} that do not read"] = resident_mb(process_id)
    _show(results, memory)


def _measure_turn(
    port: int,
    process_id: int,
    database: FilledDatabase,
    others: Sequence[list[bytes]],
    seconds: float,
    run: int,
    *,
    with_pages: bool,
) -> Measurement:
    until_quiet(process_id)
    if not with_pages:
        before_s = cpu_s(process_id)
        measured = uvloop.run(saturate([port], seconds, run, others=others))
        return _made(measured, cpu_s(process_id) - before_s)
    with reading(port, stream_paths(database)) as readers:
        before_s = cpu_s(process_id)
        began_s = time.perf_counter()
        measured = uvloop.run(saturate([port], seconds, run, others=others))
        taken_s = cpu_s(process_id) - before_s
        report = readers()
    elapsed_s = time.perf_counter() - began_s
    return msgspec.structs.replace(
        _made(measured, taken_s),
        messages=report.messages,
        megabytes=report.byte_count / 1e6,
        reader_cpu=report.cpu_s / elapsed_s,
        reconnects=report.reconnects,
    )


def _made(measured: Throughput, taken_s: float) -> Measurement:
    return Measurement(
        rate=measured.rate,
        p50_ms=measured.p50_ms,
        p99_ms=measured.p99_ms,
        cpu_us=1e6 * taken_s / measured.answered,
        sender_cpu=measured.sender_cpu,
    )


def _about(database: FilledDatabase, turns: int) -> Iterator[list[list[bytes]]]:
    """For each turn, the requests of the first connections: increasing progress of all tasks of the live chains."""
    every = [
        (task_id, percent)
        for percent in range(STARTED + 1, 100)
        for ids in database.live.values()
        for task_id in ids
    ]
    most = len(every) // turns
    for number in range(turns):
        some = every[number * most : (number + 1) * most]
        made = [request(HOOK, callback(task_id, "IN_PROGRESS", percent)) for task_id, percent in some]
        yield [made[connection::CHAIN_CONNECTIONS] for connection in range(CHAIN_CONNECTIONS)]


def _show(results: dict[bool, list[Measurement]], memory: dict[str, float]) -> None:
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
    for with_pages, turns in results.items():
        table.add_row(
            f"{STREAMS} pages" if with_pages else "no page",
            *(
                f"{statistics.median(getattr(turn, name) for turn in turns):,.{digits}f}"
                for name, digits in (("rate", 0), ("p50_ms", 1), ("p99_ms", 1), ("cpu_us", 0))
            ),
            f"{statistics.median(turn.sender_cpu for turn in turns):.0%}",
            f"{statistics.median(turn.reader_cpu for turn in turns):.0%}",
        )
    console = Console(width=110)
    console.print(table)
    pairs = list(zip(results[False], results[True], strict=True))
    rate = [plain.rate / paged.rate - 1 for plain, paged in pairs]
    cpu = [paged.cpu_us / plain.cpu_us - 1 for plain, paged in pairs]
    verdict = "[bold red]MISSED[/]" if statistics.median(cpu) > GOAL else "met"
    console.print(
        f"pages cost the server {statistics.median(cpu):.1%} CPU time per callback ({_each(cpu)}); "
        f"time per callback, with readers beside the senders: {statistics.median(rate):.1%} ({_each(rate)}); "
        f"goal: CPU below {GOAL:.0%}: {verdict}"
    )
    paged = results[True]
    messages = [sum(of_stream) for of_stream in zip(*(turn.messages for turn in paged), strict=True)]
    console.print(
        f"messages of a stream in {len(paged)} turns: {min(messages)} to {max(messages)}, "
        f"median {statistics.median(messages):.0f}, {messages.count(0)} streams got none; "
        f"{statistics.median(turn.megabytes for turn in paged):.1f} MB per turn; "
        f"{sum(turn.reconnects for turn in paged)} reconnects"
    )
    console.print("MB resident: " + ", ".join(f"{name} {size:.0f}" for name, size in memory.items()) + "\n")


def _each(shares: list[float]) -> str:
    return ", ".join(f"{one:.1%}" for one in shares)
