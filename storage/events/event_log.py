"""Events: appends them, and finds those that are not fanned out yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from storage import schema
from storage.driver.bulk import insert_rows
from storage.driver.locks import many_writers
from storage.events import sql
from storage.payloads import as_received, packed
from storage.records import PROVENANCE_OF_SOURCE, PendingEvent, Provenance, Source


class NewEvent(NamedTuple):
    """An event to be appended: its columns, in the order in which they are written."""

    upstream: str
    task_id: str
    submission_id: str
    source: Source
    signal: str | None
    action: str
    status: str
    progress: int | None
    advanced: bool
    pending: bool
    detail: str
    payload: bytes
    received_at_ms: int
    provenance: Provenance


def append(connection: Connection, *rows: NewEvent) -> None:
    """Append events, in this order."""
    stored = [
        row if (value := as_received(row.payload)) is row.payload else row._replace(payload=value)
        for row in rows
    ]
    insert_rows(connection, schema.events, stored, NewEvent._fields)


def fact(
    *,
    upstream: str,
    signal: str | None,
    source: Source,
    now_ms: int,
    task_id: str = "",
    submission_id: str = "",
    action: str = "",
    status: str = "",
    detail: str = "",
    payload: bytes = b"",
) -> NewEvent:
    """A fact that is not a task payload, such as an answer or an exceeded budget."""
    return NewEvent(
        upstream=upstream,
        task_id=task_id,
        submission_id=submission_id,
        source=source,
        signal=signal,
        action=action,
        status=status,
        progress=None,
        advanced=False,
        pending=signal is not None,
        detail=detail,
        payload=payload,
        received_at_ms=now_ms,
        provenance=PROVENANCE_OF_SOURCE[source],
    )


SKEW_MS = 2_000
"""How far the clocks of two machines may differ, if one stored the callback and another sent the submission."""


def pending(connection: Connection, most: int) -> list[PendingEvent]:
    """The oldest events that are not fanned out, in order, except those whose parent may become known soon."""
    skew_ms = SKEW_MS if many_writers(connection) else 0
    return sql.PENDING.all(connection, most=most, skew_ms=skew_ms)


def mark_fanned_out(connection: Connection, event_ids: list[int]) -> None:
    """Record that these events have their deliveries."""
    sql.MARK_FANNED_OUT(connection, ids=event_ids)


COMPARED = 20
"""A new body is compared with the bodies of this many newest events of its task."""

_COPY = "the same body as event "


def copy_of(connection: Connection, upstream: str, task_id: str, payload: bytes) -> str:
    """The `detail` of an event stored without its payload, which names an event with the same payload; "" if none of the newest
    events of the task has it."""
    newest = sql.NEWEST_NOTES.all(connection, upstream=upstream, task_id=task_id, most=COMPARED)
    copied = [note.detail.removeprefix(_COPY) for note in newest if note.detail.startswith(_COPY)]
    ids = {note.id for note in newest} | {int(detail.partition(":")[0]) for detail in copied}
    event_id = _with_payload(connection, sorted(ids), payload) if ids else None
    return "" if event_id is None else f"{_COPY}{event_id}"


def _with_payload(connection: Connection, ids: list[int], payload: bytes) -> int | None:
    """The newest of these events that has this payload; packed, if it is some minutes old."""
    stored = as_received(payload)
    as_new = sql.WITH_PAYLOAD.first(connection, ids=ids, stored=stored)
    return as_new or sql.WITH_PAYLOAD.first(connection, ids=ids, stored=packed(stored))


def latest(connection: Connection, upstream: str, task_id: str) -> tuple[bytes, bool]:
    """The current payload of a task, and True if the upstream vouches for it: the newest payload that the upstream confirmed or
    reported; otherwise the newest from a callback. b"" if there is none."""
    if not task_id:
        return b"", False
    return sql.LATEST.first(connection, upstream=upstream, task_id=task_id) or (b"", False)


def latest_at(connection: Connection, upstream: str, task_id: str, event_id: int) -> bytes:
    """The payload that `latest` gave when this event was the newest one; b"" if there was none."""
    if not task_id:
        return b""
    found = sql.LATEST_AT.first(connection, upstream=upstream, task_id=task_id, event_id=event_id)
    return b"" if found is None else found.payload


def latest_payload(connection: Connection, upstream: str, task_id: str) -> bytes:
    """The newest payload that changed a task, whoever sent it, or b"". For display only."""
    if not task_id:
        return b""
    newest = sql.NEWEST_PAYLOAD.first(connection, upstream=upstream, task_id=task_id)
    return b"" if newest is None else newest.payload


def newest_payloads(connection: Connection, upstream: str, task_ids: Sequence[str]) -> dict[str, bytes]:
    """What `latest_payload` says of each of these tasks that has a payload, by id."""
    newest = sql.NEWEST_PAYLOADS.all(connection, upstream=upstream, task_ids=task_ids)
    return {found.task_id: found.payload for found in newest}


def latest_payloads(connection: Connection, upstream: str, task_ids: Sequence[str]) -> dict[str, bytes]:
    """The payload that `latest` gives for each of these tasks that has one, by id."""
    found = sql.LATEST_PAYLOADS.all(connection, upstream=upstream, task_ids=task_ids)
    return {latest.task_id: latest.payload for latest in found}
