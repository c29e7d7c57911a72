"""`python -m benchmarks.compare [CHECKOUT …]`: this checkout beside others, each with its own `.venv`, by turns.

The table is that of `make bench`: ingest, twenty callbacks a second, and follow-ups at saturation. Callbacks are trusted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.contenders import hookchain
from benchmarks.measures import Size
from benchmarks.processes import pin
from benchmarks.side_by_side import by_turns, show


def main() -> None:
    """Measure all checkouts by turns, and print the table."""
    arguments = argparse.ArgumentParser(prog="benchmarks.compare", description=__doc__)
    arguments.add_argument("checkouts", nargs="*", type=Path, help="other checkouts to compare with")
    arguments.add_argument("--count", type=int, default=2_000, help="follow-ups in a round")
    arguments.add_argument("--rounds", type=int, default=3)
    given = arguments.parse_args()
    pin(1)
    contenders = [
        hookchain(name="this"),
        *(hookchain(name=path.resolve().name, checkout=path.resolve()) for path in given.checkouts),
    ]
    size = Size(trickled=min(given.count, 400), burst=given.count)
    results, missing = by_turns(contenders, size, given.rounds)
    show(results, missing, reference="this", title=f"checkouts by turns, medians of {given.rounds} rounds")


if __name__ == "__main__":
    main()
