"""Traffic per minute: callbacks, submissions and deliveries, summed over all processes.

A row is one minute of one series, whichever process counted it: 46,000 rows in eight days, however many processes there are.
storage/meter.py defines what is counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from storage import sql_operations as sql
from storage.meter import SERIES, Minute, Sum


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of the step that began at `at_ms`; times in milliseconds (0 if nothing happened)."""

    at_ms: int
    happened: int
    mean_ms: float
    slowest_ms: float


def add(connection: Connection, minutes: Sequence[Minute]) -> None:
    """Add figures to the stored ones. `minutes` are ordered by key, as `Meter.take` returns them, so that two processes that
    write at once cannot deadlock."""
    if minutes:
        sql.ADD_TRAFFIC.many(connection, [msgspec.structs.asdict(minute) for minute in minutes])


def series(connection: Connection, since_ms: int, until_ms: int, step_ms: int) -> dict[str, list[Point]]:
    """Each series in steps, oldest first; steps in which nothing happened are zeros.

    Steps begin at multiples of `step_ms`, which is a multiple of a minute: the first step contains `since_ms`, the last one
    begins before `until_ms`, and may not be over yet.
    """
    first_ms = since_ms - since_ms % step_ms
    rows = sql.TRAFFIC_IN_STEPS.all(connection, step_ms=step_ms, since_ms=first_ms, until_ms=until_ms)
    sums = {(row.series, row.at_ms): Sum(row.happened, row.total_us, row.slowest_us) for row in rows}
    steps = range(first_ms, until_ms, step_ms)
    return {name: [_point(at_ms, sums.get((name, at_ms), Sum())) for at_ms in steps] for name in SERIES}


def _point(at_ms: int, figures: Sum) -> Point:
    return Point(
        at_ms=at_ms,
        happened=figures.happened,
        mean_ms=round(figures.total_us / figures.happened / 1000, 3) if figures.happened else 0.0,
        slowest_ms=figures.slowest_us / 1000,
    )


def prune(connection: Connection, before_ms: int, span_ms: int) -> int:
    """Drop minutes before `before_ms`, at most `span_ms` of them from the oldest on; returns the number of rows, 0 at the end."""
    return sql.DROP_TRAFFIC(connection, before_ms=before_ms, span_ms=span_ms)
