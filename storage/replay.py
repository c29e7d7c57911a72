"""An event sent through again: a new event that says the same, so that receivers hear it as they do any other.

Whatever they ask for was asked for before, and is not submitted again; unless a person said so, which gives the event a
generation of its own, and with it what its receivers ask for.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, insert, select

from storage import events, schema
from storage.prepared import Prepared
from storage.records import Event

_by_id = Prepared(select(*events.EVENT_COLUMNS).where(schema.events.c.id == bindparam("id")))
_again = Prepared(insert(schema.events).returning(schema.events.c.id))


def replay(connection: Connection, event_id: int, *, force: bool, now_ms: int) -> tuple[Event, int] | None:
    """Record the event again: the original and the id of the new one; None when there is no such event.

    Raises `ValueError` for an event that told nobody anything.
    """
    row = _by_id(connection, id=event_id).first()
    if row is None:
        return None
    event = events.event_of(row)
    if event.signal is None:
        raise ValueError(f"event {event_id} gave no signal: it was stale, or no news")
    new_id = _again(
        connection,
        upstream=event.upstream,
        task_id=event.task_id,
        submission_id=event.submission_id,
        source="replay",
        signal=event.signal,
        action=event.action,
        status=event.status,
        progress=event.progress,
        advanced=False,
        pending=True,
        detail=f"replay of event {event_id}" + (", forced" if force else ""),
        payload=event.payload,
        received_at_ms=now_ms,
        generation=now_ms if force else 0,
    ).scalar_one()
    return event, new_id
