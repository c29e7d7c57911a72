"""Quarantine read again, as it came or as a person has mended it: what is a task comes in as the callback it is.

An entry goes after its event is kept, never before: a crash in between leaves both, and the callback comes a second
time when the entry is read again. That changes nothing, as a sender's own repetition changes nothing.
"""

from __future__ import annotations

import asyncio

import msgspec

from dispatcher.commands import CommandError
from midjourney.decode import decode_task
from midjourney.errors import InvalidRequest, Undecodable
from midjourney.redact import restored_body
from midjourney.types import Task
from storage import quarantine
from storage.engine import Database
from storage.errors import Unkeepable
from storage.quarantine import Match
from storage.records import Incoming, Quarantined

BITE = 200
"""Entries that are held in memory, and come in, together: a body may have a megabyte."""


class Readmitted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the entries that matched: `count` came in, `left` are still not understood."""

    count: int
    left: int


async def retry(database: Database, entry_id: int, now_ms: int, *, body: bytes | None = None) -> Task | None:
    """Read one entry again, or `body` in its place, which is what a person made of it as it was shown: the task that came
    in, None when there is no such entry.

    Raises `CommandError` when it is no task; the entry stays as it was then.
    """
    entry = await database.read(lambda connection: quarantine.find(connection, entry_id))
    if entry is None:
        return None
    try:
        mended = entry.body if body is None else restored_body(body, entry.body)
        task = await _come_in(database, entry, mended, now_ms)
    except (Undecodable, InvalidRequest, Unkeepable) as error:
        raise CommandError(f"{error}; it stays in quarantine") from error
    await database.write("command", lambda connection: quarantine.drop_read(connection, [entry]))
    return task


async def retry_all(database: Database, match: Match, now_ms: int) -> Readmitted:
    """Read all entries again that match and had come by `now_ms`, the oldest first."""
    count = left = after = 0
    while found := await _oldest(database, match, now_ms, after):
        after = found[-1].id
        came_in = await _all_come_in(database, found, now_ms)
        count, left = count + came_in, left + len(found) - came_in
    return Readmitted(count=count, left=left)


async def _oldest(database: Database, match: Match, now_ms: int, after: int) -> list[Quarantined]:
    return await database.read(
        lambda connection: quarantine.oldest(connection, match, by_ms=now_ms, after=after, most=BITE)
    )


async def _all_come_in(database: Database, found: list[Quarantined], now_ms: int) -> int:
    """How many of them were tasks; the others stay. Raises what went wrong, after those that came in have gone."""
    tries = [_come_in(database, entry, entry.body, now_ms) for entry in found]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    came = [entry for entry, outcome in zip(found, outcomes, strict=True) if isinstance(outcome, Task)]
    await database.write("command", lambda connection: quarantine.drop_read(connection, came))
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, Undecodable | Unkeepable):
            raise outcome
    return len(came)


async def _come_in(database: Database, entry: Quarantined, body: bytes, now_ms: int) -> Task:
    task = decode_task(body)
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
