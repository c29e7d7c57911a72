"""Reprocesses quarantined bodies, as they arrived or as corrected by a person: a valid task is ingested as a callback.

An entry is deleted after its event is stored, never before. A crash in between leaves both, and the next retry ingests the callback
again, which is as harmless as a repetition by its sender.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from dispatcher.by_hand.commands import CommandError
from midjourney.decode import decode_task
from midjourney.dialects import Dialect
from midjourney.errors import InvalidRequest, Undecodable
from midjourney.redact import restored_body
from midjourney.statuses import NO_STATUSES
from midjourney.types import Task
from storage.engine import Database
from storage.errors import Unkeepable
from storage.events import quarantine
from storage.events.quarantine import QuarantineFilter
from storage.records import Incoming, Quarantined

NO_DIALECTS: Mapping[str, Dialect] = {}

BATCH = 200
"""How many entries are held in memory, and ingested, together: a body may have a megabyte."""


class Readmitted(msgspec.Struct, frozen=True, kw_only=True):
    """The result for the matching entries: `count` were ingested, `left` are still invalid."""

    count: int
    left: int


async def retry(
    database: Database,
    entry_id: int,
    now_ms: int,
    *,
    body: bytes | None = None,
    dialects: Mapping[str, Dialect] = NO_DIALECTS,
) -> Task | None:
    """Reprocess one entry, or `body` in its place: the entry's body as it was shown, corrected by a person. Returns the
    ingested task, or None if there is no such entry. `dialects` are those of the upstreams.

    Raises `CommandError` if the body is not a valid task; then the entry stays unchanged.
    """
    entry = await database.read(lambda connection: quarantine.find(connection, entry_id))
    if entry is None:
        return None
    try:
        if body is None:
            _check_is_whole(entry)
        corrected = entry.body if body is None else restored_body(body, entry.body)
        task = await _ingest(database, entry, corrected, now_ms, dialects)
    except (Undecodable, InvalidRequest, Unkeepable) as error:
        raise CommandError(f"{error}; the entry stays in quarantine") from error
    await database.write("command", lambda connection: quarantine.drop_read(connection, [entry]))
    return task


async def retry_all(
    database: Database, match: QuarantineFilter, now_ms: int, *, dialects: Mapping[str, Dialect] = NO_DIALECTS
) -> Readmitted:
    """Reprocess all matching entries that had arrived by `now_ms`, the oldest first."""
    count = left = after = 0
    while entries := await _oldest(database, match, now_ms, after):
        after = entries[-1].id
        ingested = await _ingest_all(database, entries, now_ms, dialects)
        count, left = count + ingested, left + len(entries) - ingested
    return Readmitted(count=count, left=left)


async def _oldest(database: Database, match: QuarantineFilter, now_ms: int, after: int) -> list[Quarantined]:
    return await database.read(
        lambda connection: quarantine.oldest(connection, match, by_ms=now_ms, after=after, most=BATCH)
    )


async def _ingest_all(
    database: Database, entries: list[Quarantined], now_ms: int, dialects: Mapping[str, Dialect]
) -> int:
    """Ingest valid entries, delete them, and return their number; the others stay. Raises unexpected errors at the end."""
    tries = [_ingest_as_stored(database, entry, now_ms, dialects) for entry in entries]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    ingested = [entry for entry, outcome in zip(entries, outcomes, strict=True) if isinstance(outcome, Task)]
    await database.write("command", lambda connection: quarantine.drop_read(connection, ingested))
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, Undecodable | Unkeepable):
            raise outcome
    return len(ingested)


async def _ingest_as_stored(
    database: Database, entry: Quarantined, now_ms: int, dialects: Mapping[str, Dialect]
) -> Task:
    _check_is_whole(entry)
    return await _ingest(database, entry, entry.body, now_ms, dialects)


def _check_is_whole(entry: Quarantined) -> None:
    """Raise `Undecodable` for a body of which only the beginning is stored: it could decode to a payload that nobody sent."""
    if entry.is_cut:
        raise Undecodable(
            f"only the first {len(entry.body)} of its {entry.body_bytes} bytes are stored, and the upstream was asked about its "
            f"task instead; to process the whole body, run: hookchain quarantine retry {entry.id} --body FILE",
            is_json=False,
        )


async def _ingest(
    database: Database, entry: Quarantined, body: bytes, now_ms: int, dialects: Mapping[str, Dialect]
) -> Task:
    dialect = dialects.get(entry.upstream)
    task = decode_task(body, NO_STATUSES if dialect is None else dialect.statuses)
    await database.append(
        Incoming(
            upstream=entry.upstream,
            task=task,
            submission_id=entry.submission_id,
            source="callback",
            received_at_ms=now_ms,
        )
    )
    return task
