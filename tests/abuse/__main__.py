"""Run every attack, and write the table of docs/explanation/faults.md: `python -m tests.abuse [--column before|after] [--seconds S]`.

A run writes one of the two columns, and leaves the other as it is. It writes no verdict: tests/abuse/test_abuse.py has those.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from storage.migrate import migrate
from tests.abuse.suite import CASES, Outcome, run

PAGE = Path(__file__).parent.parent.parent / "docs/explanation/faults.md"
BEGIN, END = "<!-- abuse: written by `make abuse` -->\n\n", "\n<!-- abuse: end -->"
HEADER = ["attack", "line", "before", "after"]


def _told(outcome: Outcome) -> str:
    """A cell: counts first."""
    if not outcome.is_running:
        return f"**the server ended**; {outcome.sent - len(outcome.refused)} of {outcome.sent} answered"
    helpers = f" (and {outcome.helpers_mb})" if outcome.helpers_mb else ""
    cell = (
        f"{outcome.sent - len(outcome.refused)} of {outcome.sent}, {len(outcome.lost)} lost; "
        f"p99 {outcome.p99_ms:,.0f} ms; {outcome.memory_mb} MB{helpers}; {outcome.disk_mb} MB on disk"
    )
    return f"**{cell}**" if outcome.faults else cell


def _cells(page: str) -> dict[str, dict[str, str]]:
    """What the table of the page says, by attack and column."""
    lines = page.split(BEGIN)[1].split(END)[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {row[0]: dict(zip(HEADER, row, strict=True)) for row in rows}


def main() -> None:
    """Fill in one column, case by case."""
    parser = argparse.ArgumentParser(prog="python -m tests.abuse", description=__doc__)
    parser.add_argument("--column", choices=HEADER[2:], default="after")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long each attack takes")
    options = parser.parse_args()
    for case in CASES:
        with tempfile.TemporaryDirectory() as place:
            migrate(f"sqlite:///{place}/hookchain.db")
            cell = _told(outcome := run(case, Path(place), options.seconds))
        print(f"{case.name}: {cell}", *outcome.faults, sep="\n    ", flush=True)
        page = PAGE.read_text()
        cells = _cells(page)
        row = {"attack": case.name, "line": case.line, "before": "", "after": ""} | cells.get(case.name, {})
        cells[case.name] = row | {options.column: cell}
        ordered = [cells[one.name] for one in CASES if one.name in cells]
        table = [HEADER, ["---"] * len(HEADER), *([one[column] for column in HEADER] for one in ordered)]
        written = "\n".join("| " + " | ".join(cells) + " |" for cells in table)
        PAGE.write_text(page.split(BEGIN)[0] + BEGIN + written + "\n" + END + page.split(END)[1])


if __name__ == "__main__":
    main()
