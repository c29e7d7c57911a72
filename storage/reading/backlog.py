"""Counts the due submissions of an upstream, and what occupies its places: the figures behind a stall."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection

from storage.clock_steps import IMPOSSIBLE_MS
from storage.reading import sql_figures
from storage.records import Standing
from storage.submissions import lanes
from storage.upstreams import standings

COUNTED = 10_000
"""The count stops here."""


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """The backlog of one upstream. `due`: submissions that are due, the first since `due_since_ms`; `in_lane`: those of them that
    wait for an earlier one in their lane. `ahead`: submissions written by a clock in the future. `requests`, `jobs` and `uncertain`
    occupy places.

    `doubted`: deliveries that wait because their callbacks cannot be verified, the first since `doubted_since_ms`.
    """

    standing: Standing
    due: int = 0
    due_since_ms: int = 0
    in_lane: int = 0
    ahead: int = 0
    requests: int = 0
    jobs: int = 0
    uncertain: int = 0
    doubted: int = 0
    doubted_since_ms: int = 0


def backlogs(connection: Connection, names: Iterable[str], now_ms: int) -> dict[str, Backlog]:
    """The backlog of each of these upstreams, by name."""
    wanted = list(names)
    known = standings.every(connection)
    loads = standings.loads(connection, wanted, with_jobs=True)
    return {name: _backlog(connection, known[name], loads[name], now_ms) for name in wanted if name in loads}


def _backlog(connection: Connection, standing: Standing, load: standings.Load, now_ms: int) -> Backlog:
    name = standing.name
    due = sql_figures.DUE.one(
        connection,
        upstream=name,
        now_ms=now_ms,
        held_since_ms=now_ms - lanes.HELD_MS,
        impossible_from_ms=now_ms + IMPOSSIBLE_MS,
        counted=COUNTED,
    )
    doubted = sql_figures.DOUBTED.one(connection, upstream=name)
    return Backlog(
        standing=standing,
        due=due.due,
        due_since_ms=due.due_since_ms,
        in_lane=due.in_lane,
        ahead=due.ahead,
        requests=load.requests,
        jobs=load.jobs,
        uncertain=sql_figures.COUNT_UNCERTAIN.one(connection, upstream=name),
        doubted=doubted.doubted,
        doubted_since_ms=doubted.doubted_since_ms,
    )
