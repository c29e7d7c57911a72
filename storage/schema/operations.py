"""Operational tables: workers, upstreams, budgets, settings and traffic."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, PrimaryKeyConstraint, String, Table, Text

from storage.schema.names import metadata

meta = Table(
    "meta",
    metadata,
    Column("key", String, primary_key=True),
    Column("value", String, nullable=False),
)

# How much of each budget is used up: see storage/budgets/counters.py.
budgets = Table(
    "budgets",
    metadata,
    Column("budget", String, nullable=False),
    Column("scope", String, nullable=False),  # "upstream:main", "chain:…"; "" for the total
    Column("period", String, nullable=False),  # "2026-11-29", "2026-11", "2026-11-29 14:00+0100"
    Column("ends_at_ms", BigInteger, nullable=False),
    Column("submissions", BigInteger, nullable=False),
    Column("spent_micros", BigInteger, nullable=False),  # millionths of the unit of the prices
    PrimaryKeyConstraint("budget", "scope", "period"),
    Index("budgets_by_end", "ends_at_ms"),
)

# State of upstreams that all processes share.
upstreams = Table(
    "upstreams",
    metadata,
    Column("name", String, primary_key=True),
    Column("paused", Boolean, nullable=False),
    Column("rate_paid_until_us", BigInteger, nullable=False),
    Column("held_until_ms", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("open_until_ms", BigInteger, nullable=False),
    Column("open_ms", BigInteger, nullable=False),
    # The upstream's reason, unless a person paused it.
    Column("pause_reason", Text, nullable=False, server_default=""),
    Column("switched_at_ms", BigInteger, nullable=False, server_default="0"),  # last pause or resume
    Column("held_ms", BigInteger, nullable=False, server_default="0"),  # length of the last hold
    Column("left_at_ms", BigInteger, nullable=False, server_default="0"),  # last claim of a submission
)

# When rules that run by the clock are due: see storage/timetable/.
timetable = Table(
    "timetable",
    metadata,
    Column("rule", String, primary_key=True),
    Column("every", String, nullable=False),  # "0 9 * * mon Europe/Berlin"; "" while there is no such rule
    Column("decided_ms", BigInteger, nullable=False),  # its times up to then are decided
    Column("next_ms", BigInteger, nullable=False),  # the first that is not
)

leases = Table(
    "leases",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
)

# What all processes counted: see storage/meter.py.
traffic = Table(
    "traffic",
    metadata,
    Column("minute_ms", BigInteger, nullable=False),  # start of the minute
    Column("series", String, nullable=False),
    Column("happened", BigInteger, nullable=False),
    # In microseconds, because a callback takes about a millisecond.
    Column("total_us", BigInteger, nullable=False),
    Column("slowest_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("minute_ms", "series"),
)
