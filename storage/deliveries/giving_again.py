"""Gives a recorded event to one of its receivers once more, for a person: to send a message again, for example."""

from __future__ import annotations

from sqlalchemy import Connection

from storage.deliveries import sql
from storage.duty.states import DELIVERY
from storage.events import event_log, replay
from storage.records import Event


def give_again(
    connection: Connection, event_id: int, receiver: str, *, force: bool, now_ms: int
) -> tuple[Event, int] | None:
    """Append a copy of the event, which only this receiver gets; returns the original and the id of the copy, or None if there is no such
    event. What the receiver submits was submitted before, unless `force` is set, as for any replay.

    Raises `ValueError` for an event without a signal, and for a receiver that has not got it.
    """
    made = replay.replay(connection, event_id, force=force, now_ms=now_ms, only=receiver)
    if made is None:
        return None
    given = sql.GIVE_AGAIN.first(
        connection,
        new_event_id=made[1],
        event_id=event_id,
        receiver=receiver,
        state=DELIVERY.new("fan_out", "waiting"),
        now_ms=now_ms,
    )
    if given is None:
        known = sql.RECEIVERS_OF_EVENT.all(connection, event_id=event_id)
        raise ValueError(
            f"event {event_id} was not given to {receiver!r}; it was given to: {', '.join(known) or 'no receiver that is still recorded'}"
        )
    event_log.mark_fanned_out(connection, [made[1]])
    return made
