"""Quarantine: bodies that could not be understood, stored with the reason and without secrets; equal bodies are stored once.

Only the beginning of a large body is stored: real callbacks have up to 10 kB; anything larger is an image or a flood.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, func, select

from midjourney.redact import redacted_body
from storage import schema
from storage.driver.text_match import has_part
from storage.events import sql
from storage.records import Quarantined

quarantine = schema.quarantine


KEPT_BYTES = 64 * 1024
"""How much of a body is stored. Redacting this much takes milliseconds; a megabyte of `[1,1,…]` took 0.7 s at each display."""

SHOWN_BYTES = 4096
"""How much of a body `page` returns: enough for a person to recognise it."""

LONGEST_TEXT = 500
"""Characters stored of a reason and of a content type, both of which senders control."""

_ALL = 1 << 62
"""More rows than there can be."""


class UnreadableBody(msgspec.Struct, frozen=True, kw_only=True):
    """A body that arrived on one of our hooks and is not a task."""

    upstream: str
    submission_id: str
    content_type: str
    reason: str
    body: bytes
    received_at_ms: int


class QuarantineFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Selects entries that match all given fields. `text` is a part of the reason, in upper or lower case."""

    upstream: str = ""
    text: str = ""

    @property
    def is_empty(self) -> bool:
        """True if no field is given, so that it selects all entries."""
        return not (self.upstream or self.text)


def keep(connection: Connection, unreadable: UnreadableBody) -> int:
    """Store up to `KEPT_BYTES` of a body, or count it if an equal one is stored already; returns the entry's id."""
    digest = hashlib.sha256(
        unreadable.reason.encode("utf-8", "replace") + b"\0" + unreadable.body
    ).hexdigest()
    known = sql.EQUAL_ENTRY.first(
        connection, upstream=unreadable.upstream, submission_id=unreadable.submission_id, digest=digest
    )
    if known is not None:
        sql.COUNT_AGAIN(connection, id=known, now_ms=unreadable.received_at_ms)
        return known
    values = msgspec.structs.asdict(unreadable) | {
        "reason": unreadable.reason[:LONGEST_TEXT],
        "content_type": unreadable.content_type[:LONGEST_TEXT],
        "body": redacted_body(unreadable.body[:KEPT_BYTES]),
        "body_bytes": len(unreadable.body),
        "is_cut": len(unreadable.body) > KEPT_BYTES,
        "digest": digest,
    }
    return sql.ADD_ENTRY.one(connection, **values)


def find(connection: Connection, quarantine_id: int) -> Quarantined | None:
    """One entry, or None."""
    return sql.ENTRY.first(connection, id=quarantine_id)


def page(
    connection: Connection, selection: QuarantineFilter, *, most: int, before: int | None = None
) -> list[Quarantined]:
    """A page of matching entries, newest first, with the first `SHOWN_BYTES` of their bodies; `before` is the last id of the
    previous page."""
    beginning = func.coalesce(func.substr(quarantine.c.body, 1, SHOWN_BYTES), b"").label("body")
    columns = [beginning if column is quarantine.c.body else column for column in quarantine.c]
    query = select(*columns).where(*_matching(selection)).order_by(quarantine.c.id.desc()).limit(most)
    return _entries(connection, query if before is None else query.where(quarantine.c.id < before))


def oldest(
    connection: Connection, selection: QuarantineFilter, *, by_ms: int, after: int, most: int
) -> list[Quarantined]:
    """Matching entries that had arrived by `by_ms`, oldest first, with ids greater than `after`."""
    query = select(quarantine).where(*_matching(selection), quarantine.c.received_at_ms <= by_ms)
    return _entries(connection, query.where(quarantine.c.id > after).order_by(quarantine.c.id).limit(most))


def drop(connection: Connection, quarantine_id: int) -> bool:
    """Delete an entry; True if it existed."""
    return sql.DROP_ENTRY(connection, id=quarantine_id) == 1


def drop_read(connection: Connection, entries: Iterable[Quarantined]) -> None:
    """Delete entries that were reprocessed successfully."""
    for entry in entries:
        sql.DROP_ENTRY(connection, id=entry.id)


def drop_all(connection: Connection, selection: QuarantineFilter, now_ms: int, most: int = 1000) -> int:
    """Delete up to `most` matching entries that had arrived by `now_ms`, oldest first; returns their number."""
    query = select(quarantine.c.id).where(*_matching(selection), quarantine.c.received_at_ms <= now_ms)
    query = query.order_by(quarantine.c.id).limit(most).with_for_update(skip_locked=True)
    ids = list(connection.execute(query).scalars())
    return sql.DROP_ENTRIES(connection, ids=ids) if ids else 0


def trim(connection: Connection, *, most_rows: int, most_bytes: int, most: int = 1000) -> int:
    """Delete up to `most` of the oldest entries, so that at most `most_rows` rows and `most_bytes` bytes stay (0: no limit);
    returns their number. It reads only the rows that stay and those that it deletes."""
    newest_id = _first_over(connection, most_rows, most_bytes)
    if newest_id is None:
        return 0
    # In two statements: PostgreSQL reads the whole table for a DELETE with a subquery.
    ids = sql.OLDEST_ENTRIES.all(connection, newest_id=newest_id, most=most)
    return sql.DROP_ENTRIES(connection, ids=ids)


def _first_over(connection: Connection, most_rows: int, most_bytes: int) -> int | None:
    """The id of the newest entry beyond the limits, or None."""
    rows, size = 0, 0
    for entry in sql.ENTRY_SIZES.each(connection, most=most_rows + 1 if most_rows > 0 else _ALL):
        rows, size = rows + 1, size + entry.body_bytes
        if 0 < most_rows < rows or 0 < most_bytes < size:
            return entry.id
    return None


def _matching(selection: QuarantineFilter) -> Iterable[ColumnElement[bool]]:
    if selection.upstream:
        yield quarantine.c.upstream == selection.upstream
    if selection.text:
        yield has_part(quarantine.c.reason, selection.text)


def _entries(connection: Connection, query: Select[Any]) -> list[Quarantined]:
    return [Quarantined(**row._mapping) for row in connection.execute(query)]
