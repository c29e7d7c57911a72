"""Packs the payloads of older events, a small batch at a time, from the first event to the last.

How far it came is stored with the batch itself. So a killed process repeats nothing, and the next one goes on from there.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from storage import schema, settings
from storage.driver.bulk import insert_rows
from storage.events import sql
from storage.payloads import packed, unpacked

PACKED_TO = "packed to"
"""The key under which the id of the last event is stored whose payload was looked at."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """The events after `after`, up to `last`; `smaller` has, for each payload that gets smaller, the value as it is stored, and the packed one."""

    after: int
    last: int
    smaller: dict[int, tuple[bytes, bytes]]


def following(connection: Connection, before_ms: int, most: int) -> Batch:
    """The next `most` events, up to the first that was received after `before_ms`. Packs them, without writing anything."""
    after = _packed_to(connection)
    smaller: dict[int, tuple[bytes, bytes]] = {}
    last = after
    for event in sql.KEPT_AFTER.all(connection, after=after, most=most):
        if event.received_at_ms >= before_ms:
            break
        last, value = event.id, packed(event.stored)
        if value is not event.stored:
            smaller[event.id] = event.stored, value
    return Batch(after=after, last=last, smaller=smaller)


def store(connection: Connection, batch: Batch) -> int:
    """Store a batch; returns how many payloads became smaller. It stores nothing if another process was quicker."""
    if _packed_to(connection) != batch.after:
        return 0
    settings.keep(connection, PACKED_TO, str(batch.last))
    if connection.dialect.name == "sqlite":
        return _written_anew(connection, batch)
    rows = [{"id": event_id, "value": value} for event_id, (_, value) in batch.smaller.items()]
    return sql.REPLACE_PAYLOAD.many(connection, rows) if rows else 0


def undo(connection: Connection, after: int, most: int) -> int | None:
    """Store the payloads of the next `most` events as they were received, for an older release; returns where to go on, or None."""
    following = sql.KEPT_AFTER.all(connection, after=after, most=most)
    rows = [{"id": event.id, "value": unpacked(event.stored)} for event in following]
    if not rows:
        settings.forget(connection, PACKED_TO)
        return None
    sql.REPLACE_PAYLOAD.many(connection, rows)
    return following[-1].id


def _written_anew(connection: Connection, batch: Batch) -> int:
    """Take the rows out, and put them in again. SQLite never gives back the space that an UPDATE leaves in a page, but joins pages
    that a DELETE leaves nearly empty."""
    rows = []
    for row in sql.WHOLE.all(connection, ids=list(batch.smaller)):
        stored, value = batch.smaller[row.id]
        # Otherwise it is another event, with the id of one that was deleted meanwhile.
        if row.payload == stored:
            rows.append(row._replace(payload=value))
    if rows:
        sql.TAKE_OUT(connection, ids=[row.id for row in rows])
        insert_rows(connection, schema.events, rows, sql.Whole._fields)
    return len(rows)


def _packed_to(connection: Connection) -> int:
    """The last event that was looked at. SQLite gives ids again once the newest events are deleted: then it begins anew."""
    stored = int(settings.value(connection, PACKED_TO) or 0)
    return stored if stored <= (sql.NEWEST_ID.first(connection) or 0) else 0
