"""Quarantine: bytes that could not be understood, kept whole with the reason."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, select

from storage import schema
from storage.records import Quarantined

quarantine = schema.quarantine


class Stranger(msgspec.Struct, frozen=True, kw_only=True):
    """A body that came to a hook of ours and is no task."""

    upstream: str
    submission_id: str
    content_type: str
    reason: str
    body: bytes
    received_at_ms: int


_by_id = select(quarantine).where(quarantine.c.id == bindparam("id"))


def keep(connection: Connection, stranger: Stranger) -> int:
    """Keep the bytes; their id in the quarantine."""
    kept = connection.execute(insert(quarantine).returning(quarantine.c.id), msgspec.structs.asdict(stranger))
    return int(kept.scalar_one())


def find(connection: Connection, quarantine_id: int) -> Quarantined | None:
    """One entry, or None."""
    row = connection.execute(_by_id, {"id": quarantine_id}).first()
    return None if row is None else Quarantined(**row._mapping)


def drop(connection: Connection, quarantine_id: int) -> bool:
    """Forget an entry; tells whether it was there."""
    return connection.execute(delete(quarantine).where(quarantine.c.id == quarantine_id)).rowcount == 1
