"""Replays an event: appends a copy, which receivers get like any other event.

Submissions that its receivers request were requested before, and are not made again; unless a person forces the replay. Then the
event gets a generation of its own, which makes its receivers' submissions new ones.
"""

from __future__ import annotations

from sqlalchemy import Connection

from storage.events import sql
from storage.records import Event, replay_detail


def replay(
    connection: Connection, event_id: int, *, force: bool, now_ms: int, only: str = ""
) -> tuple[Event, int] | None:
    """Append a copy of the event; returns the original and the id of the copy, or None if there is no such event. `only` is the
    receiver that alone gets it, for the copy's `detail`.

    Raises `ValueError` for an event without a signal.
    """
    event = sql.EVENT.first(connection, id=event_id)
    if event is None:
        return None
    if event.signal is None:
        raise ValueError(f"event {event_id} gave no signal, because it was stale or changed nothing")
    new_id = sql.REPLAY.one(
        connection,
        id=event_id,
        detail=replay_detail(event, force=force, only=only),
        now_ms=now_ms,
        generation=_next_generation(connection, event, now_ms) if force else 0,
    )
    return event, new_id


def _next_generation(connection: Connection, event: Event, now_ms: int) -> int:
    """A generation that no event of the task has had, even if the clock was set back."""
    last = sql.LAST_GENERATION.one(connection, upstream=event.upstream, task_id=event.task_id)
    return max(now_ms, last + 1)
