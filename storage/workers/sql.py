"""The statements about the leases of workers."""

from __future__ import annotations

from typing import NamedTuple

from storage.driver.statements import Command, Query

CLOCK_MS = Query(
    """
    SELECT
    /*sqlite CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) */
    /*postgresql CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) */
    """,
    int,
)
"""The database's clock, epoch milliseconds; used because the clocks of several machines differ."""


class Lease(NamedTuple):
    """From when to when a lease is valid."""

    since_ms: int
    until_ms: int


LEASE = Query("SELECT since_ms, until_ms FROM leases WHERE name = :name", Lease)
LEADER = Query("SELECT holder FROM leases WHERE name = 'leader'", str)
COUNT_OTHERS = Query(
    """
    SELECT count(*) FROM leases
    WHERE name LIKE 'worker:%' AND holder <> :holder
      AND (until_ms BETWEEN :now_ms AND :latest_ms OR until_ms >= :for_ever_ms)
    """,
    int,
)
OLDEST_SINCE = Query(
    """
    SELECT since_ms FROM leases
    WHERE name LIKE 'worker:%' AND (until_ms BETWEEN :now_ms AND :latest_ms OR until_ms >= :for_ever_ms)
    ORDER BY since_ms
    LIMIT 1
    """,
    int,
)

_PUT = """
    INSERT INTO leases (name, holder, since_ms, until_ms) VALUES (:name, :holder, :since_ms, :until_ms)
    ON CONFLICT (name) DO UPDATE SET
"""
RENEW = Command(f"{_PUT} since_ms = excluded.since_ms, until_ms = excluded.until_ms")
LEAD = Command(
    f"""
    {_PUT} holder = excluded.holder, since_ms = excluded.since_ms, until_ms = excluded.until_ms
    WHERE leases.holder = excluded.holder OR leases.until_ms NOT BETWEEN excluded.since_ms AND :latest_ms
    """
)
FORGET = Command("DELETE FROM leases WHERE until_ms < :before_ms AND name <> 'fan_out'")
RESIGN = Command("DELETE FROM leases WHERE holder = :holder")


class Buried(NamedTuple):
    """A worker whose lease was deleted, and when it started."""

    holder: str
    since_ms: int


BURY = Query(
    """
    DELETE FROM leases WHERE name LIKE 'worker:%' AND until_ms < :before_ms
    RETURNING holder, since_ms
    """,
    Buried,
)
