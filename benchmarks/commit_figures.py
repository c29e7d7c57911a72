"""`python -m benchmarks.commit_figures`: measure, and write the figures that `make bench ARGS=--quick` compares with."""

from __future__ import annotations

import argparse
import time

import hookchain
from benchmarks import committed
from benchmarks.contenders import bare
from benchmarks.contenders import hookchain as ours
from benchmarks.processes import CORES, pin
from benchmarks.quick import SIZE, rounds_of
from benchmarks.side_by_side import show


def main() -> None:
    """Measure in the same short rounds as the comparison, but more of them, and write the file."""
    arguments = argparse.ArgumentParser(prog="benchmarks.commit_figures", description=__doc__)
    arguments.add_argument("--rounds", type=int, default=11)
    rounds = arguments.parse_args().rounds
    pin(1)
    reference, product = bare(), ours()
    results = rounds_of([reference, product], rounds, SIZE)
    show(results, {}, reference=reference.name, title="what is committed\n")
    ratios = committed.ratios_of(results[product.name], results[reference.name])
    written = committed.Committed(
        date=time.strftime("%Y-%m-%d"),
        release=hookchain.__version__,
        cores=len(CORES),
        rounds=rounds,
        ratios=committed.medians(ratios),
    )
    committed.write(written)
    print(committed.FILE.read_text(), end="")


if __name__ == "__main__":
    main()
