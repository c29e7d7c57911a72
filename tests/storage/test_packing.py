"""Older payloads are packed in the background, and nobody can tell."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from benchmarks.payloads import STEPS, callback
from dispatcher.loops.pack import AGE_MS, Packer
from midjourney.decode import decode_task
from storage import schema, settings
from storage.deliveries import delivery_queue
from storage.engine import Database
from storage.errors import NotDurable
from storage.events import event_log, packing, replay
from storage.events.packing import PACKED_TO
from storage.payloads import packed
from storage.reading import explanation, health, pages
from storage.reading.recorded import recorded
from storage.records import Event, Incoming
from storage.tasks import marks

LATER_MS = 10**15
LOOKS_PACKED = packed(callback("1", "SUCCESS", 100))


def incoming(body: bytes, at_ms: int = 1) -> Incoming:
    return Incoming(
        upstream="main", task=decode_task(body), submission_id="", source="callback", received_at_ms=at_ms
    )


async def append_tasks(database: Database, tasks: int, at_ms: int = 1, first: int = 0) -> None:
    """Five callbacks of each task, from the first progress to the end."""
    for number in range(first, first + tasks):
        for status, percent in STEPS:
            await database.append(incoming(callback(f"task-{number}", status, percent), at_ms))


def record_answers(connection: Connection) -> None:
    """Answers of an upstream may be any bytes: empty, short, no text, and like a packed value."""
    for payload in (b"", b"{}", bytes(range(256)), LOOKS_PACKED, LOOKS_PACKED[:7]):
        event_log.append(
            connection,
            event_log.fact(upstream="main", signal=None, source="answer", now_ms=1, payload=payload),
        )


def table(connection: Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(select(schema.events).order_by(schema.events.c.id))]


def size(connection: Connection) -> int:
    found: int = connection.execute(select(func.sum(func.length(schema.events.c.payload)))).scalar_one()
    return found


def events(connection: Connection) -> list[Event]:
    return list(pages.event_page(connection, most=1000))


async def pack(database: Database, most: int = 7) -> int:
    """Pack everything; returns how many payloads became smaller."""
    count = 0
    while True:
        batch = await database.look(partial(packing.following, before_ms=LATER_MS, most=most))
        if batch.last == batch.after:
            return count
        count += await database.write("pack", partial(packing.store, batch=batch))


READERS: dict[str, Callable[[Connection], object]] = {
    "the list of events": events,
    "the page of a task": lambda c: explanation.explained(c, "main", "task-1"),
    "the newest payloads of a list": lambda c: pages.latest_payloads(c, pages.task_page(c, most=100)),
    "the current payload": lambda c: event_log.latest(c, "main", "task-2"),
    "the newest payload": lambda c: event_log.latest_payload(c, "main", "task-2"),
    "rules that are tried": lambda c: list(recorded(c, ["task.succeeded"], 0)),
    "the body of a copy": lambda c: event_log.copy_of(
        c, "main", "task-1", event_log.latest_payload(c, "main", "task-1")
    ),
    "the health of callbacks": lambda c: health.callbacks(c, "main"),
    "whether marks are shown": lambda c: marks.are_shown(c, "main"),
}


async def test_every_reader_gets_the_same_before_and_after(database: Database) -> None:
    """Whatever is read of the events, and what a receiver is called with."""
    database.fan_out_only({"task.succeeded"})
    await append_tasks(database, 4)
    await database.write("test", record_answers)
    await database.write(
        "test", lambda c: delivery_queue.fan_out(c, lambda _event: ["plugin:x", "plugin:y"], 100, 1)
    )
    before = {name: await database.read(reader) for name, reader in READERS.items()}
    assert before["the body of a copy"]
    assert before["the current payload"] != (b"", False)
    bytes_before = await database.read(size)
    assert await pack(database) == 4 * len(STEPS)
    assert await database.read(size) < 0.4 * bytes_before
    assert {name: await database.read(reader) for name, reader in READERS.items()} == before


async def test_only_the_payload_of_an_event_changes(database: Database) -> None:
    """The rest of the row, and its id, stay: also what a later callback or the upstream made of it."""
    await append_tasks(database, 3)
    before = await database.read(table)
    await pack(database)
    after = await database.read(table)
    place = list(schema.events.c.keys()).index("payload")
    assert [row[:place] + row[place + 1 :] for row in after] == [
        row[:place] + row[place + 1 :] for row in before
    ]


async def test_a_body_like_a_packed_value_comes_out_as_it_was_sent(database: Database) -> None:
    """Whoever sends it, before and after packing."""
    await database.write("test", record_answers)
    sent = [b"", b"{}", bytes(range(256)), LOOKS_PACKED, LOOKS_PACKED[:7]]
    assert [event.payload for event in reversed(await database.read(events))] == sent
    await pack(database)
    assert [event.payload for event in reversed(await database.read(events))] == sent


async def test_a_replay_of_a_packed_event_has_its_payload(database: Database) -> None:
    await append_tasks(database, 1)
    await pack(database)
    end = (await database.read(events))[0]
    done = await database.write("test", lambda c: replay.replay(c, end.id, force=False, now_ms=2))
    assert done is not None
    assert done[0] == end
    assert await pack(database) == 0
    newest = (await database.read(events))[0]
    assert (newest.id, newest.source, newest.payload) == (done[1], "replay", end.payload)


async def test_a_repeated_body_is_recognised_in_a_packed_event(database: Database) -> None:
    """Repeated bodies must not fill the disk."""
    body = callback("task-0", "SUCCESS", 100, submitted_at_ms=5)
    await database.append(incoming(body))
    await pack(database)
    again = await database.append(incoming(body))
    assert again.is_copy
    assert (await database.read(events))[0].payload == b""


@pytest.mark.parametrize("stage", ["before", "after"])
async def test_packing_that_dies_goes_on_where_it_was(database: Database, stage: str) -> None:
    """At its third transaction, before or after the commit: nothing is lost, and nothing packed twice."""
    await append_tasks(database, 6)
    before = await database.read(events)
    seen: list[str] = []

    def die(at: str, name: str) -> None:
        if (at, name) == (stage, "pack"):
            seen.append(name)
            if len(seen) == 3:
                raise RuntimeError("killed")

    database.observe(die)
    with pytest.raises((RuntimeError, NotDurable)):
        await pack(database)
    assert await database.read(events) == before
    done = int(await database.read(lambda c: settings.value(c, PACKED_TO)) or 0)
    assert done == before[-1].id + (13 if stage == "before" else 20)
    assert await pack(database) == 30 - (14 if stage == "before" else 21)
    assert await database.read(events) == before


async def test_callbacks_arrive_while_older_events_are_packed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are stored as they came. Only those that are old enough are packed, and their tasks may go on meanwhile."""
    monkeypatch.setattr("dispatcher.loops.pack.ROWS_PER_BATCH", 5)
    monkeypatch.setattr("dispatcher.loops.pack.PAUSE_S", 0.0)
    await append_tasks(database, 10)
    old = await database.read(events)
    now_ms = AGE_MS + 2
    packer = Packer(database, lambda: now_ms)
    turn = asyncio.create_task(packer.turn())
    await append_tasks(database, 10, at_ms=now_ms, first=5)
    await turn
    found = await database.read(events)
    assert found[-len(old) :] == old
    assert all(json.loads(event.payload)["id"] == event.task_id for event in found if event.payload)
    assert int(await database.read(lambda c: settings.value(c, PACKED_TO)) or 0) == old[0].id


async def test_an_event_that_was_deleted_meanwhile_does_not_come_back(database: Database) -> None:
    await append_tasks(database, 2)
    batch = await database.look(partial(packing.following, before_ms=LATER_MS, most=100))
    gone = min(batch.smaller)

    def drop(connection: Connection) -> None:
        connection.execute(schema.events.delete().where(schema.events.c.id == gone))

    await database.write("test", drop)
    assert await database.write("pack", partial(packing.store, batch=batch)) == 2 * len(STEPS) - 1
    assert gone not in [event.id for event in await database.read(events)]


async def test_an_event_does_not_get_the_payload_of_a_deleted_one(database: Database) -> None:
    """SQLite gives the ids of the newest events again. Here it does so between the two steps of packing."""
    await append_tasks(database, 1)
    batch = await database.look(partial(packing.following, before_ms=LATER_MS, most=100))
    await database.write("test", lambda c: c.execute(schema.events.delete()))
    await append_tasks(database, 1, first=7)
    others = await database.read(events)
    assert await database.write("pack", partial(packing.store, batch=batch)) == 0
    assert await database.read(events) == others


async def test_a_batch_is_stored_once(database: Database) -> None:
    """Another process was quicker, or the same work runs again."""
    await append_tasks(database, 2)
    batch = await database.look(partial(packing.following, before_ms=LATER_MS, most=100))
    assert await database.write("pack", partial(packing.store, batch=batch)) == 2 * len(STEPS)
    assert await database.write("pack", partial(packing.store, batch=batch)) == 0


async def test_ids_that_are_given_again_are_packed_again(database: Database) -> None:
    """SQLite does so after all newest events were deleted."""
    await append_tasks(database, 2)
    await pack(database)
    await database.write("test", lambda c: c.execute(schema.events.delete()))
    await append_tasks(database, 1, first=7)
    assert await pack(database) == len(STEPS)


async def test_unpacking_leaves_the_table_as_it_was(database: Database) -> None:
    """An older release can read it then."""
    await append_tasks(database, 3)
    before = await database.read(table)
    await pack(database)
    assert await database.read(table) != before
    after: int | None = 0
    while after is not None:
        after = await database.write("unpack", partial(packing.undo, after=after, most=4))
    assert await database.read(table) == before
    assert await pack(database) == 3 * len(STEPS)


async def test_a_file_uses_the_space_again(new_database: Path) -> None:
    """Written and packed in turns, it grows by what is packed: the pages of payloads that were packed take the next ones."""
    file = new_database / "hookchain.db"
    database = Database(f"sqlite:///{file}")
    await database.open()
    sizes = []
    for turn in range(5):
        await append_tasks(database, 40, first=40 * turn)
        await pack(database, most=50)
        sizes.append(await database.read(pages_of_file))
    await database.close()
    received = sum(len(callback("task-0", status, percent)) for status, percent in STEPS) / len(STEPS)
    grown = [(later - earlier) * 4096 / (40 * len(STEPS)) for earlier, later in pairwise(sizes)]
    assert max(grown[1:]) < 0.7 * received


def pages_of_file(connection: Connection) -> int:
    found: int = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    return found
