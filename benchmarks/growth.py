"""`python -m benchmarks.growth`: the same figures on a file that grows to millions of events and waiting deliveries.

At each size the grown file and an empty one are measured by turns, so that a ratio compares the same minutes of the machine.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from benchmarks.contenders import hookchain
from benchmarks.grown_file import GrownFile
from benchmarks.measures import Figures, Size
from benchmarks.plot import Series, line_chart
from benchmarks.processes import pin
from benchmarks.side_by_side import Column, by_turns, cell
from benchmarks.targets import ROOT

PLOTS = ROOT / "docs" / "explanation"
SHARES = (0.25, 0.5, 1.0)
"""Of the events, at which the file is measured on its way."""

GOAL, GOAL_WAITING = 0.95, 0.9

RATIOS: tuple[Column, ...] = (
    ("ingest", 2, lambda one: one.ingest_core_rate),
    ("follow-ups at saturation", 2, lambda one: one.follow_up_core_rate),
    ("follow-up at 20/s", 2, lambda one: 1 / one.follow_up.p50_ms if one.follow_up else None),
    ("answer at 20/s", 2, lambda one: 1 / one.answer.p50_ms if one.answer else None),
)
"""How quick each is: rates, and for times their inverse, so that 1 is as on an empty file and less is slower."""


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A size of the file: its rounds, and the rounds of an empty file between them."""

    label: str
    grown: list[Figures]
    empty: list[Figures]
    bytes_per_event: float


def main() -> None:
    """Grow, measure, print and draw."""
    parser = argparse.ArgumentParser(prog="benchmarks.growth", description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument(
        "--waiting", type=int, default=1_000_000, help="deliveries; at most one for five events"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, help="where the file is made (5 GB for 5,000,000 events)")
    parser.add_argument("--plots", type=Path, default=PLOTS, help="where the drawings are written")
    given = parser.parse_args()
    pin(1)
    with tempfile.TemporaryDirectory(dir=given.work) as directory:
        stages = measure(Path(directory), given.events, given.waiting, Size(), given.rounds)
    show(stages)
    draw(stages, given.plots)


def measure(directory: Path, events: int, waiting: int, size: Size, rounds: int) -> list[Stage]:
    """Measure a file on its way to this many events, and then with this many waiting deliveries. It is left in the directory."""
    console, file = Console(stderr=True), GrownFile(directory)
    stages: list[Stage] = []
    for share in SHARES:
        began_s = time.monotonic()
        file.grow_to(int(events * share))
        console.print(f"{events * share:,.0f} events after {time.monotonic() - began_s:.0f} s", style="dim")
        stages.append(_measured(file, f"{_short(events * share)} events", size, rounds, len(stages) * rounds))
    file.wait_for_later(waiting)
    label = f"+ {_short(file.waiting)} waiting"
    stages.append(_measured(file, label, size, rounds, len(stages) * rounds))
    return stages


def _measured(file: GrownFile, label: str, size: Size, rounds: int, first: int) -> Stage:
    results, missing = by_turns([hookchain(name="empty"), file.contender(label)], size, rounds, first=first)
    if missing:
        raise SystemExit("\n".join(f"{name}: {why}" for name, why in missing.items()))
    return Stage(
        label=label, grown=results[label], empty=results["empty"], bytes_per_event=file.bytes_per_event()
    )


def ratios(stage: Stage, figure: Callable[[Figures], float | None]) -> list[float]:
    """Of each round, the grown file's figure divided by that of the empty one."""
    pairs = ((figure(one), figure(other)) for one, other in zip(stage.grown, stage.empty, strict=True))
    return [one / other for one, other in pairs if one and other]


def show(stages: Sequence[Stage]) -> None:
    """Print the ratios, the memory and the size of each stage."""
    table = Table(box=MARKDOWN)
    table.add_column("file, ÷ empty file in the same round")
    for heading in (
        *(name for name, _, _ in RATIOS),
        "MB resident",
        "of an empty one",
        "bytes on disk an event",
    ):
        table.add_column(heading, justify="right")
    for stage in stages:
        table.add_row(
            stage.label,
            *(cell(ratios(stage, figure), digits) for _, digits, figure in RATIOS),
            cell([one.resident_mb for one in stage.grown if one.resident_mb], 0),
            cell([one.resident_mb for one in stage.empty if one.resident_mb], 0),
            f"{stage.bytes_per_event:,.0f}",
        )
    Console(width=250).print(
        table, f"goals: {GOAL} with events alone, {GOAL_WAITING} with waiting deliveries"
    )


def draw(stages: Sequence[Stage], directory: Path) -> None:
    """Write the two drawings: speed as ratios, and memory with disk."""
    labels = [stage.label for stage in stages]
    speed = [
        Series(name=name, points=tuple(_spread(ratios(stage, figure)) for stage in stages))
        for name, _, figure in RATIOS
    ]
    (directory / "growth-speed.svg").write_text(
        line_chart("Speed on a grown file, an empty file being 1", labels, speed, goal=GOAL)
    )
    memory = [
        Series(
            name="MB resident",
            points=tuple(
                _spread([one.resident_mb for one in stage.grown if one.resident_mb]) for stage in stages
            ),
        ),
        Series(
            name="bytes an event ÷ 10",
            points=tuple(_spread([stage.bytes_per_event / 10]) for stage in stages),
        ),
    ]
    (directory / "growth-size.svg").write_text(line_chart("Memory and disk on a grown file", labels, memory))


def _spread(values: Sequence[float]) -> tuple[float, float, float] | None:
    return (min(values), statistics.median(values), max(values)) if values else None


def _short(count: float) -> str:
    """1,250,000 as "1.25 M", 2,000 as "2 k"."""
    for size, letter in ((1_000_000, " M"), (1_000, " k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:g}"


if __name__ == "__main__":
    main()
