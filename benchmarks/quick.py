"""`make bench ARGS=--quick`: a minute of short rounds, compared with the committed figures. CI runs it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from benchmarks import committed
from benchmarks.contenders import Contender, bare, hookchain
from benchmarks.measures import Figures, Size
from benchmarks.processes import CORES
from benchmarks.side_by_side import by_turns, cell, show

ROUNDS = 5
SIZE = Size(ingest_s=1.5, trickled=0, burst_s=1.5)

MORE_ROUNDS = 5
"""A fall counts if it is still there after this many more rounds: a machine that was busy for a minute is not a fault."""


def check() -> None:
    """Measure and compare. Raises SystemExit if ingest or follow-ups fell by more than a third, after a second look."""
    console, before = Console(width=160), committed.read()
    ours, reference = hookchain(), bare()
    if (len(CORES) > 1) != (before.cores > 1):
        # Where senders take the server's core, every ratio is different.
        show(rounds_of([reference, ours], 1, SIZE), {}, reference=reference.name, title="one short round\n")
        console.print(
            f"Nothing to compare with: the figures were committed on {before.cores} cores, and there are {len(CORES)}"
        )
        return
    results = rounds_of([reference, ours], ROUNDS, SIZE)
    if committed.falls(before, _ratios(results, reference, ours)):
        for name, more in rounds_of([reference, ours], MORE_ROUNDS, SIZE).items():
            results[name] += more
    show(results, {}, reference=reference.name, title="short rounds; callbacks are trusted\n")
    ratios = _ratios(results, reference, ours)
    for name, values in ratios.items():
        kept = before.ratios.get(name)
        console.print(
            f"{name} ÷ bare: {cell(values, 4)}; committed {kept} on {before.date}, release {before.release}"
        )
    if found := committed.falls(before, ratios):
        raise SystemExit(
            "\n".join(
                [
                    *(str(fall) for fall in found),
                    "If that is meant to be, `python -m benchmarks.commit_figures` writes the figures anew.",
                ]
            )
        )


def rounds_of(contenders: Sequence[Contender], rounds: int, size: Size) -> dict[str, list[Figures]]:
    """Rounds in which all of them were measured. Raises SystemExit if one of them failed."""
    results, missing = by_turns(contenders, size, rounds)
    if missing:
        raise SystemExit("\n".join(f"{name}: {why}" for name, why in missing.items()))
    return results


def _ratios(
    results: dict[str, list[Figures]], reference: Contender, ours: Contender
) -> dict[str, list[float]]:
    return committed.ratios_of(results[ours.name], results[reference.name])
