"""How much came, was sent and was run, minute by minute: what all processes counted, added up.

A row is a minute of one series, whoever counted it: 46,000 rows in eight days, however many processes there are.
What is counted: storage/meter.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, bindparam, case, delete, func, select
from sqlalchemy.dialects.postgresql import insert as upsert  # compiles for SQLite too

from storage import schema
from storage.meter import SERIES, Minute, Sum
from storage.prepared import Prepared

traffic = schema.traffic


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in the step that began at `at_ms`: how often, and how long it took, in milliseconds (0 for never)."""

    at_ms: int
    happened: int
    mean_ms: float
    slowest_ms: float


_new = upsert(traffic)
_add = Prepared(
    _new.on_conflict_do_update(
        index_elements=["minute_ms", "series"],
        set_={
            "happened": traffic.c.happened + _new.excluded.happened,
            "total_us": traffic.c.total_us + _new.excluded.total_us,
            # The larger of two is GREATEST to one database, and MAX to the other.
            "slowest_us": case(
                (_new.excluded.slowest_us > traffic.c.slowest_us, _new.excluded.slowest_us),
                else_=traffic.c.slowest_us,
            ),
        },
    )
)


def add(connection: Connection, minutes: Sequence[Minute]) -> None:
    """Add figures to those that are there. `minutes` come in the order of their keys, as `Meter.take` gives them: two
    processes that write at once wait for one another, and not in a circle."""
    if minutes:
        _add.many(connection, [msgspec.structs.asdict(one) for one in minutes])


_steps = Prepared(
    select(
        traffic.c.series,
        (traffic.c.minute_ms - traffic.c.minute_ms % bindparam("step")).label("at_ms"),
        func.sum(traffic.c.happened).label("happened"),
        func.sum(traffic.c.total_us).label("total_us"),
        func.max(traffic.c.slowest_us).label("slowest_us"),
    )
    .where(traffic.c.minute_ms >= bindparam("since"), traffic.c.minute_ms < bindparam("until"))
    .group_by(traffic.c.series, "at_ms")
)


def series(connection: Connection, since_ms: int, until_ms: int, step_ms: int) -> dict[str, list[Point]]:
    """Each series in steps, oldest first; steps in which nothing happened are zeros.

    Steps begin at whole multiples of `step_ms`, which is a multiple of a minute: the first is the one that `since_ms`
    lies in, the last the one before `until_ms`, which may be under way.
    """
    first_ms = since_ms - since_ms % step_ms
    rows = _steps(connection, step=step_ms, since=first_ms, until=until_ms)
    found = {  # PostgreSQL sums up to a decimal number
        (row.series, row.at_ms): Sum(int(row.happened), int(row.total_us), int(row.slowest_us))
        for row in rows
    }
    steps = range(first_ms, until_ms, step_ms)
    return {name: [_point(at_ms, found.get((name, at_ms), Sum())) for at_ms in steps] for name in SERIES}


def _point(at_ms: int, figures: Sum) -> Point:
    return Point(
        at_ms=at_ms,
        happened=figures.happened,
        mean_ms=round(figures.total_us / figures.happened / 1000, 3) if figures.happened else 0.0,
        slowest_ms=figures.slowest_us / 1000,
    )


_kept = traffic.alias("kept")
_oldest = select(func.min(_kept.c.minute_ms)).scalar_subquery()
_prune = Prepared(
    delete(traffic).where(
        traffic.c.minute_ms < bindparam("before"), traffic.c.minute_ms < _oldest + bindparam("span")
    )
)


def prune(connection: Connection, before_ms: int, span_ms: int) -> int:
    """Drop what is older than that, of no more than `span_ms` from the oldest on; how many rows went, 0 at the end."""
    return _prune(connection, before=before_ms, span=span_ms).rowcount
