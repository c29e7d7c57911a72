"""Leases of workers: each worker renews its lease every few seconds, and one of them is the leader.

A lease is a row, not a database lock, so that it works through connection poolers and on databases without advisory locks. A worker
that vanished is noticed after `TTL_MS`, by the database's clock. Its work is given back: storage/duty/held.py finds it.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from storage.workers import sql

TTL_MS = 10_000
"""How long a worker counts as alive after it last renewed its lease."""

LEADER = "leader"
_WORKER = "worker:"
_FORGOTTEN_MS = 3_600_000
FOR_EVER_MS = 1 << 52
"""The end of a lease that never runs out."""

LONGEST_MS = 60_000
"""No valid lease ends later than this from now. One that does was taken before the server's clock was set back, and has run out."""


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's role among the others.

    `may_sweep`: it has held its lease without a gap for long enough to decide that a silent worker is gone. Right after an outage
    of the database all workers have been silent.
    """

    leads: bool
    others: int
    may_sweep: bool


def beat(connection: Connection, me: str, *, ttl_ms: int) -> Role:
    """Renew this worker's lease; become the leader if there is none."""
    now_ms = sql.CLOCK_MS.one(connection)
    lease = sql.LEASE.first(connection, name=_WORKER + me)
    lapsed = lease is None or not now_ms <= lease.until_ms <= now_ms + LONGEST_MS
    since_ms = now_ms if lease is None or lapsed else lease.since_ms
    sql.RENEW(connection, name=_WORKER + me, holder=me, since_ms=since_ms, until_ms=now_ms + ttl_ms)
    sql.LEAD(
        connection,
        name=LEADER,
        holder=me,
        since_ms=now_ms,
        until_ms=now_ms + ttl_ms,
        latest_ms=now_ms + LONGEST_MS,
    )
    sql.FORGET(connection, before_ms=now_ms - _FORGOTTEN_MS)
    return Role(
        leads=sql.LEADER.first(connection) == me,
        others=_count_others(connection, me, now_ms),
        may_sweep=now_ms - since_ms > ttl_ms,
    )


def server_ms(connection: Connection) -> int:
    """The time by the database's clock, epoch milliseconds."""
    return sql.CLOCK_MS.one(connection)


def alive(connection: Connection) -> int:
    """The number of workers with a valid lease."""
    return _count_others(connection, "", sql.CLOCK_MS.one(connection))


def alive_for_ms(connection: Connection) -> int | None:
    """For how long the worker that started first has been alive, by the database's clock; None if that is not known."""
    now_ms = sql.CLOCK_MS.one(connection)
    since_ms = sql.OLDEST_SINCE.first(
        connection, now_ms=now_ms, latest_ms=now_ms + LONGEST_MS, for_ever_ms=FOR_EVER_MS
    )
    return (
        None if since_ms is None or since_ms > now_ms else now_ms - since_ms
    )  # later: the clock was set back


def _count_others(connection: Connection, me: str, now_ms: int) -> int:
    """The number of workers with a valid lease, except this one."""
    return sql.COUNT_OTHERS.one(
        connection, holder=me, now_ms=now_ms, latest_ms=now_ms + LONGEST_MS, for_ever_ms=FOR_EVER_MS
    )


def is_alive(connection: Connection, me: str) -> bool:
    """True if the lease of this worker has not run out."""
    lease = sql.LEASE.first(connection, name=_WORKER + me)
    if lease is None:
        return False
    now_ms = sql.CLOCK_MS.one(connection)
    return now_ms <= lease.until_ms <= now_ms + LONGEST_MS or lease.until_ms >= FOR_EVER_MS


def resign(connection: Connection, me: str) -> None:
    """End this worker's lease, so that others need not wait for it to run out."""
    sql.RESIGN(connection, holder=me)


def enter(connection: Connection, me: str) -> None:
    """Take a lease that never runs out, on a database with only one worker. If the worker dies, the next start finds the lease."""
    now_ms = sql.CLOCK_MS.one(connection)
    sql.RENEW(connection, name=_WORKER + me, holder=me, since_ms=now_ms, until_ms=FOR_EVER_MS)


def bury(connection: Connection, *, all_of_them: bool) -> dict[str, int]:
    """Delete the leases of workers that died; returns the workers with the time they started, each only once. `all_of_them`: also
    leases that have not run out, because no other worker can be alive."""
    before_ms = FOR_EVER_MS + 1 if all_of_them else sql.CLOCK_MS.one(connection)
    return dict(sql.BURY.all(connection, before_ms=before_ms))
