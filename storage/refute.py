"""A callback that the upstream contradicts: its task goes back to where the upstream says it is."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, bindparam, update

from storage import events, schema, tasks
from storage.records import Event

REFUTED = "REFUTED"
"""Status of a task that only a callback spoke of, and that its upstream does not know."""


class Refutation(msgspec.Struct, frozen=True, kw_only=True):
    """Why, and what the upstream says of the task instead."""

    reason: str
    status: str
    progress: int
    is_finished: bool


_disown = (
    update(schema.events)
    .where(
        schema.events.c.upstream == bindparam("of_upstream"),
        schema.events.c.task_id == bindparam("of_task"),
        schema.events.c.id == bindparam("event_id"),
    )
    .values(advanced=False)
)


def put_back(connection: Connection, event: Event, refutation: Refutation, now_ms: int) -> None:
    """Undo what the callback did to its task, unless something else has moved it since; and write down why.

    The event stays, byte for byte, but it no longer counts as what the task last showed.
    """
    row = tasks.held(connection, event.upstream, event.task_id)
    if row is None or row.status != event.status:
        return
    connection.execute(
        _disown, {"of_upstream": event.upstream, "of_task": event.task_id, "event_id": event.id}
    )
    tasks.put(
        connection,
        msgspec.structs.replace(
            row,
            status=refutation.status,
            progress=refutation.progress,
            updated_at_ms=now_ms,
            finished_at_ms=now_ms if refutation.is_finished else None,
        ),
    )
    events.record(
        connection,
        upstream=event.upstream,
        task_id=event.task_id,
        signal=None,
        source="internal",
        status="refuted",
        detail=f"event {event.id} is refuted: {refutation.reason}",
        now_ms=now_ms,
    )
