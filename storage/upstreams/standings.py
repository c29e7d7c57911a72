"""The standing of an upstream, shared by all processes: whether it is paused, and how far its limits are used up.

Only one transaction at a time claims requests for an upstream: it locks this row. `dispatcher/policy/upstream_limits.py` defines how
the limits are counted.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection

from storage.records import Standing
from storage.upstreams import sql


class Load(msgspec.Struct, frozen=True):
    """Our load on an upstream: `requests` being sent, and `jobs` (tasks that have not ended).

    Midjourney's plans allow 3 or 12 jobs at once; submissions that may be about to make a task count as jobs.
    """

    requests: int = 0
    jobs: int = 0


def add(connection: Connection, names: Iterable[str]) -> None:
    """Insert the rows of these upstreams that do not exist yet."""
    for name in names:
        sql.ADD(connection, **msgspec.structs.asdict(Standing(name=name)))


def every(connection: Connection) -> dict[str, Standing]:
    """All standings, by the upstream's name."""
    return {standing.name: standing for standing in sql.STANDINGS.all(connection)}


def paused(connection: Connection) -> frozenset[str]:
    """Names of the upstreams that are paused."""
    return frozenset(name for name, standing in every(connection).items() if standing.paused)


def stopped(connection: Connection) -> list[Standing]:
    """The upstreams paused for a reason of their own, ordered by name: a person has to act."""
    standings = every(connection)
    return [
        standings[name]
        for name in sorted(standings)
        if standings[name].paused and standings[name].pause_reason
    ]


def held_for_claim(connection: Connection, names: Iterable[str]) -> dict[str, Standing]:
    """Lock the rows of these upstreams until the transaction ends; skips those that another process has locked."""
    return {standing.name: standing for standing in sql.HOLD_FOR_CLAIM.all(connection, names=list(names))}


def held(connection: Connection, name: str) -> Standing:
    """Lock the row of one upstream until the transaction ends; waits for other processes."""
    standing = sql.HOLD.first(connection, name=name)
    if standing is None:
        add(connection, [name])
        return held(connection, name)
    return standing


def loads(connection: Connection, names: Iterable[str], *, with_jobs: bool) -> dict[str, Load]:
    """The load on these upstreams; jobs are counted only with `with_jobs`, which takes longer."""
    question = sql.REQUESTS_AND_JOBS if with_jobs else sql.REQUESTS
    return {row.name: Load(row.requests, row.jobs) for row in question.all(connection, names=list(names))}


def save(connection: Connection, standing: Standing) -> None:
    """Write the limits of an upstream; does not change whether it is paused."""
    sql.SAVE_LIMITS(connection, **msgspec.structs.asdict(standing))


def answered(connection: Connection, name: str) -> bool:
    """Record a usable answer, which closes the breaker. True if there were failures to clear."""
    return sql.CLOSE_BREAKER(connection, name=name) > 0


def pause(connection: Connection, upstream: str, now_ms: int) -> None:
    """Pause an upstream, for all processes. One that is paused already stays as it is."""
    add(connection, [upstream])
    sql.SWITCH(connection, name=upstream, paused=True, now_ms=now_ms)


def resume(connection: Connection, upstream: str, now_ms: int) -> None:
    """Resume an upstream. The reason of its pause is deleted."""
    sql.SWITCH(connection, name=upstream, paused=False, now_ms=now_ms)
