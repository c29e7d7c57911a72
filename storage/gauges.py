"""How much of everything there is, for whoever watches."""

from __future__ import annotations

import time

import msgspec
from sqlalchemy import Connection, func, select

from storage import schema, upstreams

_events, _submissions, _deliveries = schema.events, schema.submissions, schema.deliveries

_by_state = select(_submissions.c.upstream, _submissions.c.state, func.count()).group_by(
    _submissions.c.upstream, _submissions.c.state
)
_delivered = select(_deliveries.c.state, func.count().label("how_many")).group_by(_deliveries.c.state)
_waiting = select(func.count(), func.min(_events.c.received_at_ms)).where(_events.c.pending)
_quarantine = select(func.count()).select_from(schema.quarantine)


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """Counts as they are now; `oldest_event_s` is 0 where no event waits."""

    submissions: dict[tuple[str, str], int]
    deliveries: dict[str, int]
    events_waiting: int
    oldest_event_s: float
    quarantine: int
    paused: tuple[str, ...]


def gauges(connection: Connection) -> Gauges:
    """Ask for all of them."""
    waiting, oldest_ms = connection.execute(_waiting).one()
    return Gauges(
        submissions={(name, state): count for name, state, count in connection.execute(_by_state)},
        deliveries={row.state: row.how_many for row in connection.execute(_delivered)},
        events_waiting=waiting,
        oldest_event_s=max(0.0, time.time() - oldest_ms / 1000) if oldest_ms else 0.0,
        quarantine=connection.execute(_quarantine).scalar_one(),
        paused=tuple(sorted(upstreams.paused(connection))),
    )
