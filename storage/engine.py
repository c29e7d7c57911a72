"""Opens a database: its writers, and its readers.

Writing and reading are separate because SQLite has one writer. Both take functions of a plain connection, so that every
statement is written once for both databases.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Container
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sqlalchemy import Connection as Connection  # for the layers above, which must not import SQLAlchemy
from sqlalchemy import Engine

from storage import clock, clock_steps
from storage.budgets.billing import Plan
from storage.callbacks import Callbacks
from storage.driver import sqlite
from storage.driver.readers import LoopReaders, Readers, ThreadReaders
from storage.driver.wakeups import Wakeups
from storage.driver.writer import Writer
from storage.driver.writes import Closing as Closing  # for the layers above, which must not import a driver
from storage.driver.writes import Observer, Result, Value
from storage.driver.writes import Step as Step
from storage.driver.writes import Work as Work
from storage.errors import BadDatabaseUrl, NotDurable
from storage.histogram import ANSWER_MS, Histogram, Timings, together
from storage.meter import Holds, Meter, Sum
from storage.records import Incoming, Recorded
from storage.submissions.request_count import GenerationFile
from storage.tally import Tally
from storage.tasks.oddities import Oddities
from storage.workers import leases
from storage.workers.lock import WorkerLock

if TYPE_CHECKING:  # psycopg takes 9 MB, so `parse_url` loads it only for an address of PostgreSQL
    from storage.driver.listen import Announcer
    from storage.driver.postgres import Address

T = TypeVar("T")

BUSY = 4
"""Waiting writes of one writer from which on it is busy. A callback whose event has four receivers comes to as many by itself."""

SERVER_READERS = 2
"""Connections to PostgreSQL for reads, opened when needed. Small plans allow twenty connections in all."""

CALLBACK_LOCK_WAIT_MS = 300
"""How long a callback's transaction waits for a row lock; short, because other callbacks wait behind it."""


ANSWERED_WITHIN_S = 0.5
"""A clock reading that took longer is too imprecise, and is ignored until the next one."""


class Transactions(Protocol):
    """What the parts that decide need of a database: an open one, or one in memory in which they are tried."""

    @property
    def meter(self) -> Meter:
        """Counts what is done."""

    @property
    def wakeups(self) -> Wakeups:
        """Wakes the loops."""

    async def read(self, query: Callable[[Connection], T]) -> T:
        """See `Database.read`."""

    async def write(self, name: str, work: Callable[[Connection], T]) -> T:
        """See `Database.write`."""


class Database:
    """An open database. Other parts use only `write`, `append`, `read`, `look` and their variants.

    `meter` counts what this process does until the counts are stored; `timings` measures how long its work took; `tally` counts what
    it does for clients of the gateway.
    """

    def __init__(self, url: str) -> None:
        address = parse_url(url)
        self.url = url
        self.wakeups = Wakeups()
        self.meter = Meter()
        self.timings = Timings()
        self.tally = Tally()
        self._oddities = Oddities()
        self._callbacks = Callbacks()
        self.worker_lock: WorkerLock | None = None
        self.generation_file: GenerationFile | None = None
        self.path = address if isinstance(address, Path) else None
        self._announcer: Announcer | None = None
        if isinstance(address, Path):
            self._readers: Readers = LoopReaders(sqlite.read_engine(address))
            self._looks = ThreadReaders(sqlite.look_engine(address))
            self._ingest = self._separate = Writer(sqlite.write_engine(address), self._callbacks.begin)
            self._others = self._ingest
            self.worker_lock = WorkerLock(address)
            self.generation_file = GenerationFile(address)
        else:
            self._readers = ThreadReaders(address.read_engine(connections=SERVER_READERS), SERVER_READERS)
            self._looks = ThreadReaders(address.read_engine(connections=1))
            self._announcer = address.announcer(self.wakeups)
            self._ingest = Writer(
                address.write_engine(lock_wait_ms=CALLBACK_LOCK_WAIT_MS), self._callbacks.begin
            )
            # With two for reads and two for wake-ups a process has at most seven connections, and one more while pages are open.
            self._separate, self._others = (
                Writer(address.write_engine(), self._callbacks.begin) for _ in range(2)
            )

    @property
    def plan(self) -> Plan | None:
        """The budgets that submissions are charged to: see `charge_by`."""
        return self._callbacks.plan

    @property
    def _writers(self) -> set[Writer]:
        return {self._ingest, self._separate, self._others}

    @property
    def is_writing(self) -> bool:
        """True if all writers accept writes."""
        return all(writer.is_writing for writer in self._writers)

    @property
    def is_busy(self) -> bool:
        """True if so many writes wait that what can wait should."""
        return self._others.waiting >= BUSY

    def held_by(self) -> dict[str, Sum]:
        """How long each named transaction occupied this process's writers."""
        return Holds.together(writer.holds for writer in self._writers)

    async def open(self) -> None:
        """Start the writers. The schema must exist: see `storage.migrate`."""
        for writer in self._writers:
            writer.start()
        if self._announcer is not None:
            self._announcer.start()
        with contextlib.suppress(NotDurable):  # the next query reports the outage
            await self.follow_clock()

    async def follow_clock(self) -> None:
        """Adjust the process's clock to this database: see storage/clock.py. Raises `NotDurable`."""
        await self.read(_follow_file if self.worker_lock is not None else _follow_server)

    async def close(self) -> None:
        """Write what is waiting, then close all connections."""
        await asyncio.gather(*(writer.stop() for writer in self._writers))
        if self._announcer is not None:
            await self._announcer.stop()
        await self._looks.close()
        await self._readers.close()

    async def append(self, incoming: Incoming) -> Recorded:
        """Store one callback (transaction "ingest"). Returns after the commit; raises `NotDurable` or `Unkeepable`."""
        # The loops claim through the same writer on SQLite: woken early, they share the callback's transaction.
        wakes_early = self._ingest is self._others
        if wakes_early:
            self.wakeups.wake(*self._callbacks.topics(incoming))
        recorded = await self._ingest.step(self._callbacks.step, incoming)
        if recorded.asks:
            self.wakeups.wake("asks")
        if not wakes_early:
            self.wakeups.wake(*self._callbacks.topics(incoming))
        self._oddities.look_at(incoming.upstream, incoming.task)
        return recorded

    async def write(self, name: str, work: Callable[[Connection], T]) -> T:
        """Run a named transaction; returns its value after the commit. Raises its errors, `NotDurable` or `Unkeepable`."""
        (value,) = await self.write_together((name, work))
        result: T = value
        return result

    async def write_together(self, *units: tuple[str, Work]) -> list[Any]:
        """Run several named units, in order, in one transaction; returns their values."""
        return await self._others.write(units)

    async def step(self, step: Step[Value, Result], value: Value, closing: Closing | None = None) -> Result:
        """Do a step for a value, together with all that wait for the same step; returns its result after the commit.

        Raises the step's error for this value, `NotDurable` or `Unkeepable`. `closing` runs once at the end of their transaction.
        """
        return await self._others.step(step, value, closing)

    async def write_alone(
        self, name: str, work: Callable[[Connection], T], committed: Callable[[], None]
    ) -> T:
        """Like `write`, in a transaction of its own. `committed` runs in the writing thread before anything else is written."""
        (value,) = await self._separate.write([(name, work)], committed)
        result: T = value
        return result

    async def write_separately(self, name: str, work: Callable[[Connection], T]) -> T:
        """Like `write`, but does not wait behind other writes (on PostgreSQL; SQLite has one writer)."""
        (value,) = await self._separate.write([(name, work)])
        result: T = value
        return result

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run a query on a connection of its own. Raises `NotDurable` if the database cannot be read."""
        return await self._readers.run(query)

    async def look(self, query: Callable[[Connection], T]) -> T:
        """Like `read`, in a thread that runs one query at a time: for long queries of background loops."""
        return await self._looks.run(query)

    def fan_out_only(self, signals: Container[str]) -> None:
        """Fan out only callbacks that give one of these signals; the others are stored."""
        self._callbacks.wanted_signals = signals

    def trust(self, upstreams: Container[str]) -> None:
        """Believe the callbacks of these upstreams without a readback."""
        self._callbacks.trusted = upstreams

    def charge_by(self, plan: Plan | None) -> None:
        """Charge all staged submissions to the budgets of this plan; None charges nothing."""
        self._callbacks.plan = plan

    def transactions(self) -> Histogram:
        """How long the transactions of this process took, from their first statement to the end of the commit."""
        return together((writer.transactions for writer in self._writers), ANSWER_MS)

    def observe(self, observer: Observer) -> None:
        """Call `observer` before and after each commit, in the writing thread. For metrics and crash tests."""
        for writer in self._writers:
            writer.observers.append(observer)


def _follow_file(connection: Connection) -> None:
    stored, wall_base_ms = clock_steps.stored_base(connection), clock.wall_base_ms()
    if stored is None or stored.boot_id != clock.boot_id():
        clock.follow(wall_base_ms)
    elif abs(stored.base_ms - wall_base_ms) >= clock.STEP_MS:
        # The clock was set: the process that works on the file will move its times, and store the new base there.
        clock.follow(stored.base_ms)
    else:
        clock.follow(wall_base_ms)


def _follow_server(connection: Connection) -> None:
    asked_s = clock.uptime_s()
    server_ms = leases.server_ms(connection)
    answered_s = clock.uptime_s()
    if answered_s - asked_s < ANSWERED_WITHIN_S:
        clock.follow(server_ms - int(500 * (asked_s + answered_s)))


def write_engine(url: str) -> Engine:
    """An engine for one connection beside an open database, for tests and inspection."""
    address = parse_url(url)
    return sqlite.write_engine(address) if isinstance(address, Path) else address.write_engine()


def glance_engine(url: str) -> Engine:
    """An engine for one query to a database of any release, or to a foreign one: it neither creates nor changes anything."""
    address = parse_url(url)
    if isinstance(address, Path):
        return sqlite.glance_engine(address)
    return address.read_engine(connections=1)


def parse_url(url: str) -> Path | Address:
    """Parse a URL as people and platforms write it: a SQLite file or a PostgreSQL server. Raises `BadDatabaseUrl`, which
    says what to write instead."""
    scheme, separator, path = url.partition("://")
    if scheme in ("postgres", "postgresql", "postgresql+psycopg") and separator:
        from storage.driver import postgres  # only here: see above

        return postgres.parse(url)
    if scheme not in ("sqlite", "sqlite+aiosqlite") or not separator:
        problem = f"has the unsupported scheme {scheme!r}" if separator else "is not a database URL"
        raise BadDatabaseUrl(
            f"DATABASE_URL {problem}; write sqlite:///path or postgresql://user:password@host/name"
        )
    if not path.startswith("/") or path in ("/", "/:memory:"):
        raise BadDatabaseUrl(
            "DATABASE_URL names no file, and a database in memory loses every event at a restart; use sqlite:///path"
        )
    return Path(path[1:])
