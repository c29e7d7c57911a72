"""Group commit: writes that wait at the same moment share one transaction, and each is answered after its commit.

One thread owns the writing connection, and a batch of any size costs one thread switch. Measured on the project's machine, a
transaction of three statements takes half the time that it takes through a driver that switches threads at every statement,
and 64 senders get six times the throughput of one transaction each. `docs/decisions/0003` has the figures.

A write that fails is rolled back alone, and the rest of its batch is committed (storage/driver/transaction.py). Work depends on the
connection only: it may run twice (after a failed batch, or a conflict on PostgreSQL), and only the committed run is answered. If the
database itself fails, the whole batch is refused at once (storage/driver/outage.py).

SQLite has one writer. PostgreSQL has one for callbacks, one for leases, and one for everything else, so that neither waits for a row
that another process has locked.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from sqlalchemy import Connection, Engine

from storage.driver.connection import WriterConnection
from storage.driver.outage import is_conflict, is_lock_wait, is_outage, translated
from storage.driver.transaction import ClosingFailed, Transaction
from storage.driver.writes import (
    Call,
    Closing,
    Entry,
    Item,
    Observer,
    Outcomes,
    Result,
    Step,
    Value,
    Work,
    answer,
)
from storage.errors import NotDurable
from storage.histogram import ANSWER_MS, Histogram
from storage.meter import Holds

log = structlog.get_logger("hookchain")

LARGEST_BATCH = 512
"""Most writes in one transaction. A larger batch gains nothing more, and its first writes wait too long."""

IDLE_S = 0.01
"""Seconds without a write that count as an idle moment."""

CONFLICTS = 8
"""How often work is repeated after a conflict with another process before it is refused."""

CONFLICTS_TOGETHER = 2
"""How often several writes are repeated together before each gets a transaction of its own, which holds fewer locks."""

LOCKED_S = 15.0
"""Seconds for which a write is put off while its row is locked; as long as a frozen process can hold the lock."""

ENDED = "the writer has stopped after an error; restart hookchain"

HANGS_S = 15.0
"""Seconds after which the connection to a silent server is cut. Routers of platforms give up after 30 (Heroku: H12)."""


class Writer:
    """One connection that writes. `start` starts it; `stop` writes what is still waiting.

    `begin` prepares the connection for a transaction.
    """

    def __init__(self, engine: Engine, begin: Callable[[Connection], None] = lambda _: None) -> None:
        self._connection = WriterConnection(engine)
        self._transaction = Transaction(self._connection, begin)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hookchain-writer")
        self._batch: list[Entry] = []
        self._put_off: list[Entry] = []
        self._waiting: list[Entry] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self.transactions = Histogram(ANSWER_MS)

    @property
    def observers(self) -> list[Observer]:
        """Called before and after each commit."""
        return self._transaction.observers

    @property
    def holds(self) -> Holds:
        """How long each named transaction occupied this writer."""
        return self._transaction.holds

    @property
    def waiting(self) -> int:
        """The number of writes that are waiting, including the running batch."""
        return len(self._waiting) + len(self._batch)

    @property
    def is_writing(self) -> bool:
        """True if it accepts writes. After an error of its own it accepts none until hookchain is restarted."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Start to write."""
        self._task = asyncio.create_task(self._run(), name="writer")
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Fail all waiting writes. Only a bug gets here: an error of a single write is the answer to that write."""
        if self._stopping:
            return
        error = None if task.cancelled() else task.exception()
        log.error(
            "the writer has stopped after an error: hookchain stores nothing until it is restarted",
            exc_info=error,
        )
        for entry in self._batch + self._waiting:
            if not entry.answer.done():
                entry.answer.set_exception(NotDurable(ENDED))
        self._batch, self._waiting = [], []

    def _take(self, entry: Entry) -> None:
        if self._task is not None and self._task.done():
            raise NotDurable(ENDED)
        self._waiting.append(entry)
        self._wake.set()

    async def stop(self, within_s: float = 5.0) -> None:
        """Write what is waiting, then close the connection; cut it if the server does not answer within `within_s`."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            _, hanging = await asyncio.wait([self._task], timeout=within_s)
            if hanging:
                await asyncio.to_thread(self._connection.hang_up)
                await asyncio.wait([self._task], timeout=within_s)
                self._task.cancel()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown(wait=False)

    async def write(
        self, units: Sequence[tuple[str, Work]], committed: Callable[[], None] | None = None
    ) -> list[Any]:
        """Run units in one transaction, in order; returns their values after the commit.

        With `committed` they get a transaction of their own, and it is called in the writing thread after the commit, before
        anything else is written. Raises a unit's error, or `NotDurable`; then nothing of the call is stored.
        """
        call = Call(tuple(units), asyncio.get_running_loop().create_future(), committed=committed)
        self._take(call)
        return await call.answer

    async def step(self, step: Step[Value, Result], value: Value, closing: Closing | None = None) -> Result:
        """Do a step for one value, together with all that wait for the same step; returns its result after the commit.

        Raises the error of the step, or `NotDurable`; then nothing is stored for this value.
        """
        item = Item(step, value, asyncio.get_running_loop().create_future(), closing)
        self._take(item)
        result: Result = await item.answer
        return result

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting or not self._stopping:
            if not await self._woken():
                await loop.run_in_executor(self._thread, self._connection.checkpoint)
                continue
            await asyncio.sleep(0)  # lets tasks that are ready add their writes to this batch
            batch = self._next_batch()
            if not self._waiting and not self._stopping:
                self._wake.clear()
            if batch:
                self._batch = batch
                committing = loop.run_in_executor(self._thread, self._commit, batch)
                if not self._connection.is_file:
                    await self._watch(committing)
                outcomes = await committing
                self._batch = []
                answer(outcomes)
                if self._put_off:
                    self._waiting += self._put_off
                    self._put_off = []
                    self._wake.set()

    def _next_batch(self) -> list[Entry]:
        """The writes of the next transaction, in order of arrival. One that was put off is alone: it may wait for its lock again."""
        if self._waiting and self._waiting[0].put_off_s:
            return [self._waiting.pop(0)]
        most = LARGEST_BATCH
        for number, entry in enumerate(self._waiting[:most]):
            if entry.put_off_s or (isinstance(entry, Call) and entry.committed is not None):
                most = max(1, number)
                break
        batch, self._waiting = self._waiting[:most], self._waiting[most:]
        return batch

    async def _watch(self, committing: asyncio.Future[Any]) -> None:
        """Cut the connection to a server that does not answer; repeatedly, because it may still have been connecting."""
        while (await asyncio.wait([committing], timeout=HANGS_S))[1]:
            await asyncio.to_thread(self._connection.hang_up)

    async def _woken(self) -> bool:
        """Wait for something to write; False if nothing came for a moment, and a checkpoint is due."""
        if not self._connection.has_journal:
            await self._wake.wait()
            return True
        try:
            async with asyncio.timeout(IDLE_S):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def _commit(
        self, batch: Sequence[Entry], conflicts: int = 0, without: Collection[Closing] = ()
    ) -> Outcomes:
        try:
            with self.transactions.timed():
                return self._transaction.run(batch, without)
        except ClosingFailed as failed:
            outcomes = self._commit(batch, conflicts, [*without, failed.closing])
            outcomes.closed.append((failed.closing, translated(failed.__cause__ or failed)))
            return outcomes
        except BaseException as error:
            if is_conflict(error) and conflicts < (CONFLICTS if len(batch) == 1 else CONFLICTS_TOGETHER):
                # In the writer's own thread, so that nothing else is blocked.
                time.sleep(random.uniform(0, 0.01 * 2**conflicts))
                return self._commit(batch, conflicts + 1, without)
            if is_lock_wait(error) and len(batch) == 1 and self._may_be_put_off(batch[0]):
                return Outcomes()
            outage = is_outage(error)
            if outage:
                self._connection.give_up()
            if outage or len(batch) == 1:
                return Outcomes([(entry.answer, translated(error)) for entry in batch])
            return self._each_alone(batch)

    def _each_alone(self, batch: Sequence[Entry]) -> Outcomes:
        outcomes = Outcomes()
        for entry in batch:
            outcomes.add(self._commit([entry]))
        return outcomes

    def _may_be_put_off(self, entry: Entry) -> bool:
        """Put off a write whose row is locked; False once `LOCKED_S` have passed. It is dropped if its caller is gone."""
        entry.put_off_s = entry.put_off_s or time.monotonic()
        if entry.answer.done():
            return True
        if time.monotonic() - entry.put_off_s > LOCKED_S:
            return False
        self._put_off.append(entry)
        return True
