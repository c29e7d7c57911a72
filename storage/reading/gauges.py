"""Counts of submissions, deliveries, waiting events and quarantined bodies, for monitoring."""

from __future__ import annotations

from typing import get_args

import msgspec
from sqlalchemy import Connection

from storage import clock
from storage.reading import sql_figures, sql_tickets
from storage.records import DeliveryState
from storage.submissions import approvals
from storage.upstreams import standings

# Those in the state "done" are counted as the rest, because SQLite counts all rows quickly.
_OTHERS = [state for state in get_args(DeliveryState) if state != "done"]


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """The present counts; `oldest_event_s` is 0 if no event waits."""

    submissions: dict[tuple[str, str], int]
    scheduled: dict[str, int]
    deliveries: dict[str, int]
    events_waiting: int
    oldest_event_s: float
    quarantine: int
    paused: tuple[str, ...]
    tickets: dict[tuple[str, str], int]
    approvals: int


def gauges(connection: Connection) -> Gauges:
    """Read all counts."""
    waiting, oldest_ms = sql_figures.WAITING_EVENTS.one(connection)
    return Gauges(
        submissions=submissions_by_state(connection),
        scheduled=dict(sql_figures.COUNT_SCHEDULED.all(connection, now_ms=clock.now_ms())),
        deliveries=_deliveries_by_state(connection),
        events_waiting=waiting,
        oldest_event_s=max(0.0, (clock.now_ms() - oldest_ms) / 1000) if oldest_ms else 0.0,
        quarantine=sql_figures.COUNT_QUARANTINE.one(connection),
        paused=tuple(sorted(standings.paused(connection))),
        tickets=_open_tickets(connection),
        approvals=approvals.count_open(connection),
    )


def submissions_by_state(connection: Connection) -> dict[tuple[str, str], int]:
    """The number of submissions by (upstream, state)."""
    return {
        (row.upstream, row.state): row.how_many for row in sql_figures.SUBMISSIONS_BY_STATE.all(connection)
    }


def _open_tickets(connection: Connection) -> dict[tuple[str, str], int]:
    """The number of tickets that have not ended by (client, state)."""
    counts: dict[tuple[str, str], int] = {}
    for row in sql_tickets.OPEN_BY_CLIENT.all(connection):
        counts[row.client, "open"] = row.not_ended - row.windows
        counts[row.client, "window"] = row.windows
    return counts


def _deliveries_by_state(connection: Connection) -> dict[str, int]:
    undone = dict(sql_figures.DELIVERIES_IN.all(connection, states=_OTHERS))
    done = sql_figures.COUNT_DELIVERIES.one(connection) - sum(undone.values())
    # `done` may be negative, because on PostgreSQL the two queries see two moments.
    return {"done": done, **undone} if done > 0 else undone
