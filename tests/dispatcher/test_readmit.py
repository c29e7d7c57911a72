"""Quarantine read again: what is a task comes in, what is none stays, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dispatcher.by_hand import readmit
from dispatcher.by_hand.commands import CommandError
from storage.engine import Database
from storage.events import quarantine
from storage.events.quarantine import QuarantineFilter, UnreadableBody
from storage.reading import pages
from storage.records import Quarantined
from storage.tasks import rows as tasks

GOOD = b'{"id":"late","status":"SUCCESS","progress":"100%"}'


def stranger(body: bytes, at_ms: int = 10, *, upstream: str = "main", reason: str = "no task") -> Any:
    """Keeps a body in quarantine; its id."""
    entry = UnreadableBody(
        upstream=upstream,
        submission_id="",
        content_type="application/json",
        reason=reason,
        body=body,
        received_at_ms=at_ms,
    )
    return lambda connection: quarantine.keep(connection, entry)


async def kept(database: Database, match: QuarantineFilter | None = None) -> list[Quarantined]:
    """What is in quarantine, newest first."""
    return await database.read(lambda c: quarantine.page(c, match or QuarantineFilter(), most=99))


async def test_a_mended_body_comes_in_and_the_entry_goes(database: Database) -> None:
    """With what the task showed, byte for byte as it was mended."""
    entry_id = await database.write("keep", stranger(b'{"id":"late","status":'))
    task = await readmit.retry(database, entry_id, 20, body=GOOD)
    assert task is not None
    assert (task.id, task.raw) == ("late", GOOD)
    assert await kept(database) == []
    row = await database.read(lambda c: tasks.find(c, "main", "late"))
    assert row is not None
    assert row.status == "SUCCESS"
    assert await readmit.retry(database, entry_id, 21, body=GOOD) is None


@pytest.mark.parametrize("body", [None, b"", b"still none", b'{"id":"late"}'])
async def test_what_is_no_task_stays_as_it_was(database: Database, body: bytes | None) -> None:
    """The body that came, not the one that somebody tried."""
    entry_id = await database.write("keep", stranger(b"none"))
    with pytest.raises(CommandError, match="stays in quarantine"):
        await readmit.retry(database, entry_id, 20, body=body)
    assert [one.body for one in await kept(database)] == [b"none"]
    assert await database.read(lambda c: pages.event_page(c, most=9)) == []


async def test_two_people_who_read_one_again_make_one_change(database: Database) -> None:
    """The callback may be kept twice, as when a sender repeats it: the second changes nothing."""
    entry_id = await database.write("keep", stranger(GOOD))
    await asyncio.gather(*(readmit.retry(database, entry_id, 20) for _ in range(2)))
    events = await database.read(lambda c: pages.event_page(c, most=9))
    assert [one.signal for one in events if one.advanced] == ["task.succeeded"]
    assert await kept(database) == []


async def test_an_id_is_never_given_again(database: Database) -> None:
    """A tab that still shows the entry that has gone, or a second click, drops no other that nobody has read."""
    entry_id = await database.write("keep", stranger(GOOD))
    assert await database.write("drop", lambda c: quarantine.drop(c, entry_id))
    await database.write("keep", stranger(b"new"))
    assert not await database.write("drop", lambda c: quarantine.drop(c, entry_id))
    assert await readmit.retry(database, entry_id, 20, body=GOOD) is None
    assert [one.body for one in await kept(database)] == [b"new"]


async def test_all_that_match_come_in_and_the_others_stay(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bites of two, the oldest first; what came later, and what is still no task, is left where it is."""
    monkeypatch.setattr(readmit, "BATCH", 2)
    for number in range(5):
        body = GOOD.replace(b"late", b"t%d" % number) if number != 2 else b"no task"
        await database.write("keep", stranger(body, reason="Unknown VENDOR"))
    await database.write("keep", stranger(GOOD, upstream="other", reason="unknown vendor"))
    await database.write("keep", stranger(GOOD, reason="too long"))
    await database.write("keep", stranger(GOOD, 99, reason="unknown vendor"))
    came = await readmit.retry_all(database, QuarantineFilter(upstream="main", text="unknown vendor"), 20)
    assert (came.count, came.left) == (4, 1)
    events = await database.read(lambda c: pages.event_page(c, most=9))
    assert [one.task_id for one in events][::-1] == ["t0", "t1", "t3", "t4"]
    assert {(one.upstream, one.reason, one.received_at_ms) for one in await kept(database)} == {
        ("main", "Unknown VENDOR", 10),
        ("other", "unknown vendor", 10),
        ("main", "too long", 10),
        ("main", "unknown vendor", 99),
    }


@pytest.mark.parametrize(
    ("match", "left"),
    [
        (QuarantineFilter(), 0),
        (QuarantineFilter(upstream="main"), 1),
        (QuarantineFilter(text="LONG"), 2),
        (QuarantineFilter(upstream="other", text="long"), 3),
    ],
)
async def test_all_that_match_are_dropped(database: Database, match: QuarantineFilter, left: int) -> None:
    """Some at a time."""
    for upstream, reason in (("main", "too long"), ("main", "no JSON"), ("other", "no JSON")):
        await database.write("keep", stranger(b"x", upstream=upstream, reason=reason))
    count = 0
    while bite := await database.write("drop", lambda c: quarantine.drop_all(c, match, 20, most=1)):
        count += bite
    assert (count, len(await kept(database))) == (3 - left, left)


async def test_a_crash_between_the_two_loses_nothing(database: Database) -> None:
    """The callback is kept and its entry has not gone: both are there, and read again it changes nothing more."""
    entry_id = await database.write("keep", stranger(GOOD))
    crashing = [True]

    def crash(stage: str, name: str) -> None:
        if crashing[0] and (stage, name) == ("before", "command"):
            raise RuntimeError("the process stops here")

    database.observe(crash)
    with pytest.raises(RuntimeError, match="stops here"):
        await readmit.retry(database, entry_id, 20)
    assert [one.id for one in await kept(database)] == [entry_id]
    assert await database.read(lambda c: tasks.find(c, "main", "late")) is not None
    crashing[0] = False
    assert await readmit.retry(database, entry_id, 21) is not None
    events = await database.read(lambda c: pages.event_page(c, most=9))
    assert [one.signal for one in events if one.advanced] == ["task.succeeded"]
    assert await kept(database) == []
