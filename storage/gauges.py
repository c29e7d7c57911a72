"""How much of everything there is, for whoever watches."""

from __future__ import annotations

import time
from typing import get_args

import msgspec
from sqlalchemy import Connection, func, select

from storage import schema, upstreams
from storage.records import SubmissionState

_events, _submissions, _deliveries = schema.events, schema.submissions, schema.deliveries

MOST_ARE = "accepted"
_OTHERS = tuple(state for state in get_args(SubmissionState) if state != MOST_ARE)
# Those that are accepted are counted as the rest: with both statements an index tells without the rows.
_of_upstream = select(_submissions.c.upstream, func.count().label("how_many")).group_by(
    _submissions.c.upstream
)
_in_state = (
    select(_submissions.c.upstream, _submissions.c.state, func.count().label("how_many"))
    .where(_submissions.c.state.in_(_OTHERS))
    .group_by(_submissions.c.upstream, _submissions.c.state)
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
        submissions=submissions_by_state(connection),
        deliveries={row.state: row.how_many for row in connection.execute(_delivered)},
        events_waiting=waiting,
        oldest_event_s=max(0.0, time.time() - oldest_ms / 1000) if oldest_ms else 0.0,
        quarantine=connection.execute(_quarantine).scalar_one(),
        paused=tuple(sorted(upstreams.paused(connection))),
    )


def submissions_by_state(connection: Connection) -> dict[tuple[str, str], int]:
    """How many submissions there are, by (upstream, state)."""
    found = {(row.upstream, row.state): int(row.how_many) for row in connection.execute(_in_state)}
    for name, all_of_it in list(connection.execute(_of_upstream)):
        rest = all_of_it - sum(count for (upstream, _), count in found.items() if upstream == name)
        if rest > 0:  # PostgreSQL answers the two as of two moments
            found[name, MOST_ARE] = rest
    return found
