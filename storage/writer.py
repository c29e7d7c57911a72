"""Group commit: writes that wait at the same moment share one transaction, and each is answered after it.

One thread owns the writing connection, and a batch of any size costs it one turn: measured on the project's machine,
a transaction of three statements takes half the time that it takes through a driver that changes threads at every
statement, and 64 senders get six times the throughput of a transaction each. `docs/decisions/0003` has the figures.

A batch that fails is rolled back and its writes are run again one by one, so a bad one harms nobody else. Work is
therefore a function of the connection alone: it may run twice, and only the run that was committed is answered. When
it is the database that fails, the whole batch is refused at once (storage/outage.py).

SQLite has one of these. On PostgreSQL there is one for callbacks, in batches, and a few for everything else, a
transaction each: what waits for a row that another process holds keeps no callback waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import sqlite3
import time
from collections.abc import Callable, Container, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import msgspec
import psycopg
import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from midjourney.types import Status
from storage import sqlite
from storage.ingest import ingest
from storage.notify import Wakeups
from storage.outage import is_conflict, is_lock_wait, is_outage, translated
from storage.records import SIGNAL_OF_CHANGE, Incoming, Recorded

log = structlog.get_logger("hookchain")

Work = Callable[[Connection], Any]
"""What a transaction does: statements on the connection, a value back. It does no other I/O."""

Stage = Literal["before", "after"]
Observer = Callable[[Stage, str], None]
"""Told, in the writing thread, just before and just after the commit of each named transaction."""

ALL_SIGNALS = frozenset(signal for signal in SIGNAL_OF_CHANGE.values() if signal is not None)

_SIGNALS_OF_STATUS: dict[str, tuple[str, ...]] = {
    Status.MODAL: ("submission.needs_modal",),
    Status.SUBMITTED: ("task.submitted",),
    Status.IN_PROGRESS: ("task.started", "task.progressed"),
    Status.SUCCESS: ("task.succeeded",),
    Status.FAILURE: ("task.failed",),
    Status.CANCEL: ("task.cancelled",),
}

LARGEST_BATCH = 512
"""Writes in one transaction. Past this a larger batch no longer pays, and the first in it wait too long."""

CHECKPOINT_AFTER = 20
"""Commits, of about ten pages each, after which an idle moment is used to put the journal away."""

IDLE_S = 0.01
"""Seconds without a write that count as an idle moment."""

CONFLICTS = 8
"""How often work is done again that another process was in the way of, before it is refused."""

LOCKED_S = 15.0
"""Seconds for which a write is put off again and again while somebody holds its row; as long as a frozen process may."""

HANGS_S = 15.0
"""Seconds after which a server that says nothing is hung up on. Routers of platforms give up after 30 (Heroku: H12)."""

TRUSTED_S = 1.0
"""Seconds for which a connection to a server is believed to live; then it is tried before it is used."""


class _Call(msgspec.Struct, eq=False):
    """Units that belong together: all of them are committed, or none."""

    units: tuple[tuple[str, Work], ...]
    answer: asyncio.Future[list[Any]]
    put_off_s: float = 0.0  # when first


class _Append(msgspec.Struct, eq=False):
    """One callback; those of a batch are written with the same statements."""

    incoming: Incoming
    answer: asyncio.Future[Recorded]
    put_off_s: float = 0.0  # when first


class Writer:
    """One connection that writes. Start it with `start`; `stop` writes what still waits.

    `largest_batch`: writes that may share a transaction. `wake_early`: wake those who wait for a callback before it is
    committed, since they write through here too, and in the same transaction.
    """

    def __init__(
        self,
        engine: Engine,
        wakeups: Wakeups,
        *,
        largest_batch: int = LARGEST_BATCH,
        wake_early: bool = True,
    ) -> None:
        self._engine = engine
        self._is_file = engine.dialect.name == "sqlite"
        self._wakeups = wakeups
        self._largest_batch = largest_batch
        self._wake_early = wake_early
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hookchain-writer")
        self._used_s = 0.0
        self._writing = 0
        self._put_off: list[_Call | _Append] = []
        self._waiting: list[_Call | _Append] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._stopping = False
        self._since_checkpoint = 0
        self.observers: list[Observer] = []
        self.heard: Container[str] = ALL_SIGNALS

    @property
    def waiting(self) -> int:
        """Writes that wait for their turn, the running batch included."""
        return len(self._waiting) + self._writing

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run(), name="writer")

    async def stop(self, within_s: float = 5.0) -> None:
        """Write what waits, then close the connection. A server that says nothing for so long is hung up on."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            _, hanging = await asyncio.wait([self._task], timeout=within_s)
            if hanging:
                self._hang_up()
                await asyncio.wait([self._task], timeout=within_s)
                self._task.cancel()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    async def write(self, units: Sequence[tuple[str, Work]]) -> list[Any]:
        """Run units in one transaction, in order; their values, after the commit.

        Raises what a unit raised, or `NotDurable`; nothing of the call is kept then.
        """
        call = _Call(tuple(units), asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        self._wake.set()
        return await call.answer

    async def append(self, incoming: Incoming) -> Recorded:
        """Keep one callback; returns after the commit. Raises `NotDurable`."""
        append = _Append(incoming, asyncio.get_running_loop().create_future())
        self._waiting.append(append)
        self._wake.set()
        if self._wake_early:
            self._tell_of(incoming)
        recorded = await append.answer
        if not self._wake_early:
            self._tell_of(incoming)
        return recorded

    def _tell_of(self, incoming: Incoming) -> None:
        if self._may_be_heard(incoming.task.status):
            self._wakeups.wake("events")
        if incoming.task.is_finished:
            self._wakeups.wake("submissions")  # its place is free, and the next of its lane may go

    def _may_be_heard(self, status: str) -> bool:
        """Whether a payload of this status can give a signal that somebody listens to."""
        return any(signal in self.heard for signal in _SIGNALS_OF_STATUS.get(status, ()))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting or not self._stopping:
            if not await self._woken():
                await loop.run_in_executor(self._thread, self._checkpoint)
                continue
            await asyncio.sleep(0)  # whoever is ready now rides along
            most = self._largest_batch
            batch, self._waiting = self._waiting[:most], self._waiting[most:]
            if not self._waiting and not self._stopping:
                self._wake.clear()
            if batch:
                self._writing = len(batch)
                committing = loop.run_in_executor(self._thread, self._commit, batch)
                if not self._is_file:
                    await self._watch(committing)
                outcomes = await committing
                self._writing = 0
                _answer(outcomes)
                if self._put_off:
                    self._waiting += self._put_off
                    self._put_off = []
                    self._wake.set()

    async def _watch(self, committing: asyncio.Future[Any]) -> None:
        """Hang up on a server that does not answer."""
        _, hanging = await asyncio.wait([committing], timeout=HANGS_S)
        if hanging:
            self._hang_up()

    def _hang_up(self) -> None:
        """End a connection from outside the thread that waits for it: it hears that the server has gone."""
        connection = self._connection
        driver = None if connection is None or self._is_file else connection.connection.driver_connection
        if isinstance(driver, psycopg.Connection):
            with (
                contextlib.suppress(OSError, psycopg.Error),
                socket.socket(fileno=os.dup(driver.fileno())) as end,
            ):
                end.shutdown(socket.SHUT_RDWR)  # unless it has ended by itself

    async def _woken(self) -> bool:
        """Wait for something to write; False when nothing came for a moment, and there is a journal to put away."""
        if self._since_checkpoint < CHECKPOINT_AFTER:
            await self._wake.wait()
            return True
        try:
            async with asyncio.timeout(IDLE_S):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def _checkpoint(self) -> None:
        """Move the journal into the database file while nobody waits.

        SQLite does it by itself every 1000 pages, within somebody's commit, which then takes 10 to 15 ms.
        """
        self._since_checkpoint = 0
        if self._connection is not None:
            try:
                sqlite.checkpoint(self._connection)
            except sqlite3.Error as error:  # nothing is lost by it: SQLite tries again in a later commit
                log.warning("checkpoint put off", why=str(error))

    def _commit(
        self, batch: list[_Call | _Append], conflicts: int = 0
    ) -> list[tuple[asyncio.Future[Any], Any]]:
        try:
            return self._transaction(batch)
        except Exception as error:
            if is_conflict(error) and conflicts < CONFLICTS:
                time.sleep(random.uniform(0, 0.01 * 2**conflicts))  # a thread of its own: nobody else waits
                return self._commit(batch, conflicts + 1)
            if is_lock_wait(error) and len(batch) == 1 and self._may_be_put_off(batch[0]):
                return []
            outage = is_outage(error)
            if outage:
                self._disconnect()
            if outage or len(batch) == 1:
                return [(one.answer, translated(error)) for one in batch]
            return [outcome for one in batch for outcome in self._commit([one])]

    def _may_be_put_off(self, one: _Call | _Append) -> bool:
        """Put a write off whose row somebody holds, for a while and if anybody still waits for it."""
        one.put_off_s = one.put_off_s or time.monotonic()
        if one.answer.done():
            return True
        if time.monotonic() - one.put_off_s > LOCKED_S:
            return False
        self._put_off.append(one)
        return True

    def _transaction(self, batch: list[_Call | _Append]) -> list[tuple[asyncio.Future[Any], Any]]:
        connection = self._connected()
        appends = [entry for entry in batch if isinstance(entry, _Append)]
        outcomes: list[tuple[asyncio.Future[Any], Any]] = []
        names: list[str] = []
        try:
            if appends:  # first, so that a fan-out in the same batch sees them
                names.append("ingest")
                recorded = ingest(connection, [append.incoming for append in appends], self.heard)
                outcomes += zip((append.answer for append in appends), recorded, strict=True)
            for call in batch:
                if isinstance(call, _Call):
                    names += [name for name, _ in call.units]
                    outcomes.append((call.answer, [work(connection) for _, work in call.units]))
            self._tell("before", names)
            if self._is_file:
                sqlite.check_in_place(connection, self._engine)
                self._since_checkpoint += 1
            connection.commit()
            self._used_s = time.monotonic()
        except BaseException:
            connection.rollback()
            raise
        self._tell("after", names)
        return outcomes

    def _tell(self, stage: Stage, names: Iterable[str]) -> None:
        for observer in self.observers:
            for name in names:
                observer(stage, name)

    def _connected(self) -> Connection:
        if self._connection is not None and not self._is_file:
            self._try_idle(self._connection)
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _try_idle(self, connection: Connection) -> None:
        """Give up a connection that died while nobody used it: the server was restarted, say."""
        if time.monotonic() - self._used_s < TRUSTED_S:
            return
        try:
            connection.exec_driver_sql("SELECT 1")
            connection.rollback()
        except DBAPIError as error:
            log.info("connecting to the database again", why=str(error.orig))
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(DBAPIError):  # it is given up because it does not work
                self._connection.invalidate()
                self._connection.close()
            self._connection = None

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()


def _answer(outcomes: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in outcomes:
        if future.done():  # the one who asked has gone; the write stands
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
