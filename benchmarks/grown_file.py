"""A SQLite file that grows to millions of events, written by the product's own code: whatever it writes for an event is in it.

Payloads are packed as the file grows, as they are five minutes later.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path

from benchmarks.contenders import PRESS_ONE, Contender, Running
from benchmarks.payloads import STEPS, callback
from benchmarks.targets import watched_target
from midjourney.decode import decode_task
from storage.deliveries import delivery_queue
from storage.engine import Connection, Database
from storage.events import packing
from storage.migrate import migrate
from storage.records import Incoming

TASKS_AT_ONCE = 400
EVENTS_AT_ONCE = 5_000
PACKED_AT_ONCE = TASKS_AT_ONCE * len(STEPS)
LATER_MS = 30 * 24 * 3_600_000
"""How far away the time of the waiting deliveries is: no measurement gets there."""

RECEIVER = "rule:press-one"
_ID = "16"
"""Prefix of the tasks' ids. The senders' are higher, as those of later tasks are."""


class GrownFile:
    """The file in a directory, and how much is in it. It is made when this object is."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "hookchain.db"
        self.url = f"sqlite:///{self.path}"
        self.tasks = 0
        self.waiting = 0
        migrate(self.url)

    def grow_to(self, events: int) -> None:
        """Add tasks with five events each, until there are this many events. As if their receivers had nothing to do."""
        asyncio.run(self._grow(events // len(STEPS)))

    def wait_for_later(self, deliveries: int) -> None:
        """Add deliveries for the newest finished tasks, which wait for a time in a month. There is at most one for each task."""
        asyncio.run(self._fan_out(min(deliveries, self.tasks)))

    def bytes_per_event(self) -> float:
        """What the file and its journal take on disk, for each event in it."""
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            (events,) = connection.execute("SELECT count(*) FROM events").fetchone()
        size = sum(path.stat().st_size for path in self.directory.glob("hookchain.db*"))
        return size / events if events else float("nan")

    def contender(self, name: str) -> Contender:
        """The server on this file, which keeps growing by what each round adds."""

        def start(_directory: Path, upstream_port: int, follows: bool) -> AbstractContextManager[Running]:
            return self._started(upstream_port, follows)

        return Contender(name=name, start=start)

    @contextlib.contextmanager
    def _started(self, upstream_port: int, follows: bool) -> Iterator[Running]:
        rules = f'{PRESS_ONE}verify = "trust"\n' if follows else '[upstreams.main]\nverify = "trust"\n'
        (self.directory / "hookchain.toml").write_text(rules)
        with watched_target(self.directory, upstream_port=upstream_port) as (port, process_id):
            yield Running(port=port, process_ids=(process_id,))

    async def _grow(self, tasks: int) -> None:
        database = Database(self.url)
        database.fan_out_only(())
        database.trust(("main",))
        await database.open()
        templates = [callback("TASK", status, percent) for status, percent in STEPS]
        for first in range(self.tasks, tasks, TASKS_AT_ONCE):
            now_ms = time.time_ns() // 1_000_000
            numbers = range(first, min(first + TASKS_AT_ONCE, tasks))
            bodies = [
                template.replace(b"TASK", b"%s%012d" % (_ID.encode(), number))
                for number in numbers
                for template in templates
            ]
            await asyncio.gather(*(database.append(_incoming(body, now_ms)) for body in bodies))
            await _pack(database, now_ms + 1)
        await database.close()
        self.tasks = max(tasks, self.tasks)

    async def _fan_out(self, deliveries: int) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(
                "UPDATE events SET pending = 1 WHERE signal = 'task.succeeded' AND task_id >= ? AND task_id < ?",
                (f"{_ID}{self.tasks - deliveries:012d}", f"{_ID}{self.tasks:012d}"),
            )
        database = Database(self.url)
        await database.open()

        def fan_out(connection: Connection) -> int:
            return delivery_queue.fan_out(
                connection, lambda _event: [RECEIVER], EVENTS_AT_ONCE, time.time_ns() // 1_000_000
            )

        while await database.write("fill", fan_out):
            pass
        await database.close()
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(
                "UPDATE deliveries SET run_at_ms = run_at_ms + ? WHERE state = 'waiting'", (LATER_MS,)
            )
            (self.waiting,) = connection.execute(
                "SELECT count(*) FROM deliveries WHERE state = 'waiting'"
            ).fetchone()


async def _pack(database: Database, before_ms: int) -> None:
    following = partial(packing.following, before_ms=before_ms, most=PACKED_AT_ONCE)
    while (batch := await database.look(following)).last != batch.after:
        await database.write("pack", partial(packing.store, batch=batch))


def _incoming(body: bytes, now_ms: int) -> Incoming:
    return Incoming(
        upstream="main", task=decode_task(body), submission_id="", source="callback", received_at_ms=now_ms
    )
