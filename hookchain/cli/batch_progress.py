"""The progress of a batch: one bar on a terminal, and plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from hookchain.cli.batch_rows import Row
from hookchain.cli.output import say
from hooks.api.known_answers import KnownSubmission

LINE_EVERY_S = 5.0
"""How often a line is written where there is no terminal."""

_ENDED_BADLY = ("FAILURE", "CANCEL", "LOST")
_NEVER_SENT = ("dropped", "rejected", "dead", "refused", "uncertain")


class Counts(msgspec.Struct, kw_only=True):
    """How many rows there are, and how many of them are done; of these, how many failed."""

    total: int
    done: int = 0
    failed: int = 0
    running: int = 0

    def text(self, verb: str) -> str:
        """The counts in one line."""
        parts = [f"{verb}: {self.done} of {self.total}"]
        parts += [f"{self.running} running"] if self.running else []
        parts += [f"{self.failed} failed"] if self.failed else []
        return ", ".join(parts)


def is_failed(known: KnownSubmission) -> bool:
    """True if the row has ended without a picture, or nobody knows how."""
    if known.task is not None:
        return known.task.status in _ENDED_BADLY
    return known.state in _NEVER_SENT


def is_ended(known: KnownSubmission) -> bool:
    """True if nothing more is to be expected of the row."""
    is_shown = known.task is not None and known.task.status == "SUCCESS"
    return is_shown or known.state == "removed" or is_failed(known)


def states_of(rows: Sequence[Row], known: Mapping[str, KnownSubmission]) -> Counts:
    """Count the rows that have ended."""
    counts = Counts(total=len(rows))
    for row in rows:
        if (one := known.get(row.key)) is not None:
            counts.done += is_ended(one)
            counts.failed += is_failed(one)
            counts.running += one.task is not None and not is_ended(one)
    return counts


def summary(rows: Sequence[Row], known: Mapping[str, KnownSubmission]) -> dict[str, int]:
    """How many rows there are of each kind."""
    counts = states_of(rows, known)
    submitted = sum(row.key in known for row in rows)
    removed = sum(one.state == "removed" for one in known.values())
    return {
        "rows": len(rows),
        "succeeded": counts.done - counts.failed - removed,
        "failed": counts.failed,
        "removed": removed,
        "running": counts.running,
        "waiting": submitted - counts.done - counts.running,
        "not submitted": len(rows) - submitted,
    }


@contextmanager
def shown_progress(verb: str, counts: Counts) -> Iterator[Callable[[Counts], None]]:
    """Show the counts until the end of the block, on standard error. Call what it gives whenever they change."""
    if not sys.stderr.isatty():
        yield _Lines(verb).show
        return
    # Imported here because it is slow to load.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task(counts.text(verb), total=counts.total, completed=counts.done)
        yield lambda now: progress.update(bar, completed=now.done, description=now.text(verb))


class _Lines:
    """Writes a line when the counts have changed and the last line is old, or all are done."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._last = ""
        self._written_at = time.monotonic()

    def show(self, counts: Counts) -> None:
        """Write the counts, if it is time."""
        text, now = counts.text(self._verb), time.monotonic()
        if text != self._last and (counts.done == counts.total or now - self._written_at >= LINE_EVERY_S):
            self._last, self._written_at = text, now
            say(text, to_errors=True)
