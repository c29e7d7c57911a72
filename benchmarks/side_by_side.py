"""Measure several servers by turns, and print one table of medians and spreads."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import uvloop
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from benchmarks.contenders import Contender
from benchmarks.measures import Figures, Size, measured

Results = dict[str, list[Figures]]
"""The rounds of each server, by its name."""

Column = tuple[str, int, Callable[[Figures], float | None]]
"""Heading, digits after the point, and the figure."""

COLUMNS: tuple[Column, ...] = (
    ("ingest/s", 0, lambda one: one.ingest_rate),
    ("core to itself", 0, lambda one: one.ingest_core_rate),
    ("ms CPU each", 3, lambda one: one.ingest_cpu_ms),
    ("senders' CPU", 2, lambda one: one.sender_cpu),
    ("follow-up at 20/s, ms", 1, lambda one: one.follow_up.p50_ms if one.follow_up else None),
    ("p99", 1, lambda one: one.follow_up.p99_ms if one.follow_up else None),
    ("answer at 20/s, ms", 1, lambda one: one.answer.p50_ms if one.answer else None),
    ("p99", 1, lambda one: one.answer.p99_ms if one.answer else None),
    ("follow-ups/s, saturated", 0, lambda one: one.follow_up_rate),
    ("core to itself", 0, lambda one: one.follow_up_core_rate),
    ("ms CPU each", 2, lambda one: one.follow_up_cpu_ms),
    ("MB resident", 0, lambda one: one.resident_mb),
)


def by_turns(
    contenders: Sequence[Contender], size: Size, rounds: int, *, first: int = 0
) -> tuple[Results, dict[str, str]]:
    """All rounds of all servers, A B C A B C; and why those are missing that have none. One that fails is not tried again.

    `first`: the number of the first round, if there were others on the same database.
    """
    results: Results = {one.name: [] for one in contenders}
    missing = {one.name: one.missing for one in contenders if one.start is None}
    console = Console(stderr=True)
    for number in range(rounds):
        for contender in contenders:
            if contender.name in missing:
                continue
            console.print(f"round {number + 1} of {rounds}: {contender.name}", style="dim")
            try:
                results[contender.name].append(uvloop.run(measured(contender, size, first + number)))
            except (OSError, RuntimeError, TimeoutError) as error:
                missing[contender.name] = f"failed in round {number + 1}: {type(error).__name__}: {error}"
    return results, missing


def ratios(rounds: Sequence[Figures], reference: Sequence[Figures]) -> list[float]:
    """What each round received with the core to itself, divided by what the reference did in the same round."""
    return [
        one.ingest_core_rate / other.ingest_core_rate
        for one, other in zip(rounds, reference, strict=False)
        if one.ingest_core_rate and other.ingest_core_rate
    ]


def show(results: Results, missing: dict[str, str], *, reference: str, title: str) -> None:
    """Print the table as Markdown: each cell a median, with the lowest and the highest round in brackets."""
    columns = [column for column in COLUMNS if any(_has(one, column) for one in results.values())]
    table = Table(box=MARKDOWN)
    table.add_column("server")
    for heading in (f"ingest ÷ {reference}", *(heading for heading, _, _ in columns)):
        table.add_column(heading, justify="right")
    for name, rounds in results.items():
        if name in missing:
            table.add_row(name, "", *("" for _ in columns[1:]), missing[name])
            continue
        found = ([value for one in rounds if (value := get(one)) is not None] for _, _, get in columns)
        cells = [cell(values, digits) for values, (_, digits, _) in zip(found, columns, strict=True)]
        table.add_row(name, cell(ratios(rounds, results[reference]), 2), *cells)
    # So wide that no line is broken: Markdown has no broken lines.
    Console(width=1_000).print(title, table)


def _has(rounds: Sequence[Figures], column: Column) -> bool:
    return any(column[2](one) is not None for one in rounds)


def cell(values: Sequence[float], digits: int) -> str:
    """A median, with the lowest and the highest value in brackets if there are several; nothing if there is none."""
    if not values:
        return ""
    median = f"{statistics.median(values):,.{digits}f}"
    if len(values) == 1:
        return median
    return f"{median} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"
