"""Quarantine: bytes that could not be understood, kept whole with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, bindparam, delete, insert, select

from storage import schema
from storage.records import Quarantined
from storage.wording import has_part

quarantine = schema.quarantine


class Stranger(msgspec.Struct, frozen=True, kw_only=True):
    """A body that came to a hook of ours and is no task."""

    upstream: str
    submission_id: str
    content_type: str
    reason: str
    body: bytes
    received_at_ms: int


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: all that agree with whatever is given. `text` is part of the reason, in capitals or not."""

    upstream: str = ""
    text: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether it names nothing, and so means all."""
        return not (self.upstream or self.text)


_by_id = select(quarantine).where(quarantine.c.id == bindparam("id"))


def keep(connection: Connection, stranger: Stranger) -> int:
    """Keep the bytes; their id in the quarantine."""
    kept = connection.execute(insert(quarantine).returning(quarantine.c.id), msgspec.structs.asdict(stranger))
    return int(kept.scalar_one())


def find(connection: Connection, quarantine_id: int) -> Quarantined | None:
    """One entry, or None."""
    row = connection.execute(_by_id, {"id": quarantine_id}).first()
    return None if row is None else Quarantined(**row._mapping)


def page(connection: Connection, match: Match, *, most: int, before: int | None = None) -> list[Quarantined]:
    """Entries that match by id, newest first; `before` is the last id of the page before."""
    query = select(quarantine).where(*_matching(match)).order_by(quarantine.c.id.desc()).limit(most)
    return _found(connection, query if before is None else query.where(quarantine.c.id < before))


def oldest(connection: Connection, match: Match, *, by_ms: int, after: int, most: int) -> list[Quarantined]:
    """Entries that match and had come by then, oldest first, behind the one with the id `after`."""
    query = select(quarantine).where(*_matching(match), quarantine.c.received_at_ms <= by_ms)
    return _found(connection, query.where(quarantine.c.id > after).order_by(quarantine.c.id).limit(most))


_drop = delete(quarantine).where(quarantine.c.id == bindparam("of_id"))


def drop(connection: Connection, quarantine_id: int) -> bool:
    """Forget an entry; tells whether it was there."""
    return connection.execute(_drop, {"of_id": quarantine_id}).rowcount == 1


def drop_read(connection: Connection, entries: Iterable[Quarantined]) -> None:
    """Forget what has been read and is kept elsewhere by now."""
    for entry in entries:
        connection.execute(_drop, {"of_id": entry.id})


def drop_all(connection: Connection, match: Match, now_ms: int, most: int = 1000) -> int:
    """Forget up to `most` entries that match and had come by `now_ms`, the oldest first; how many."""
    query = select(quarantine.c.id).where(*_matching(match), quarantine.c.received_at_ms <= now_ms)
    query = query.order_by(quarantine.c.id).limit(most).with_for_update(skip_locked=True)
    ids = list(connection.execute(query).scalars())
    if not ids:
        return 0
    return connection.execute(delete(quarantine).where(quarantine.c.id.in_(ids))).rowcount


def _matching(match: Match) -> Iterable[ColumnElement[bool]]:
    if match.upstream:
        yield quarantine.c.upstream == match.upstream
    if match.text:
        yield has_part(quarantine.c.reason, match.text)


def _found(connection: Connection, query: Select[Any]) -> list[Quarantined]:
    return [Quarantined(**row._mapping) for row in connection.execute(query)]
