"""Group commit: writes that wait at the same moment share one transaction, and each is answered after its commit.

One thread owns the writing connection, and a batch of any size costs one thread switch. Measured on the project's machine, a
transaction of three statements takes half the time that it takes through a driver that switches threads at every statement,
and 64 senders get six times the throughput of one transaction each. `docs/decisions/0003` has the figures.

A write that fails is rolled back alone, to the savepoint before it, and the rest of its batch is committed. Work depends on the
connection only: it may run twice (after a failed batch of callbacks, or a conflict on PostgreSQL), and only the committed run
is answered. If the database itself fails, the whole batch is refused at once (storage/driver/outage.py).

SQLite has one writer. PostgreSQL has one for callbacks, in batches, and a few for everything else, with one transaction for
each write, so that no callback waits for a row that another process has locked.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Connection, Engine

from storage.driver.connection import WriterConnection
from storage.driver.outage import is_conflict, is_lock_wait, is_outage, translated
from storage.driver.statements import Command
from storage.driver.wakeups import Wakeups
from storage.driver.writes import Append, Call, Callbacks, Observer, Stage, Work, answer
from storage.errors import NotDurable
from storage.histogram import ANSWER_MS, Histogram
from storage.meter import Holds
from storage.records import Incoming, Recorded

log = structlog.get_logger("hookchain")

LARGEST_BATCH = 512
"""Most writes in one transaction. A larger batch gains nothing more, and its first writes wait too long."""

IDLE_S = 0.01
"""Seconds without a write that count as an idle moment."""

CONFLICTS = 8
"""How often work is repeated after a conflict with another process before it is refused."""

LOCKED_S = 15.0
"""Seconds for which a write is put off while its row is locked; as long as a frozen process can hold the lock."""

ENDED = "the writer has stopped after an error; restart hookchain"

HANGS_S = 15.0
"""Seconds after which the connection to a silent server is cut. Routers of platforms give up after 30 (Heroku: H12)."""

_SAVEPOINT = Command("SAVEPOINT call")
_ROLL_BACK = Command("ROLLBACK TO SAVEPOINT call")
_RELEASE = Command("RELEASE SAVEPOINT call")


class Writer:
    """One connection that writes. `start` starts it; `stop` writes what is still waiting.

    `largest_batch`: most writes that share a transaction. `wake_early`: wake the loops before the callback is committed,
    because their claims go through this writer too, and can share its transaction.
    """

    def __init__(
        self,
        engine: Engine,
        wakeups: Wakeups,
        callbacks: Callbacks,
        *,
        largest_batch: int = LARGEST_BATCH,
        wake_early: bool = True,
    ) -> None:
        self._connection = WriterConnection(engine)
        self._wakeups = wakeups
        self._callbacks = callbacks
        self._largest_batch = largest_batch
        self._wake_early = wake_early
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hookchain-writer")
        self._batch: list[Call | Append] = []
        self._put_off: list[Call | Append] = []
        self._waiting: list[Call | Append] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self.observers: list[Observer] = []
        self.transactions = Histogram(ANSWER_MS)
        self.holds = Holds()

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

    def _take(self, entry: Call | Append) -> None:
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

    async def append(self, incoming: Incoming) -> Recorded:
        """Store one callback; returns after the commit. Raises `NotDurable`."""
        append = Append(incoming, asyncio.get_running_loop().create_future())
        self._take(append)
        if self._wake_early:
            self._wakeups.wake(*self._callbacks.topics(incoming))
        recorded = await append.answer
        if recorded.asks:
            self._wakeups.wake("asks")
        if not self._wake_early:
            self._wakeups.wake(*self._callbacks.topics(incoming))
        return recorded

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

    def _next_batch(self) -> list[Call | Append]:
        """The writes of the next transaction, in order of arrival."""
        most = self._largest_batch
        for number, entry in enumerate(self._waiting[:most]):
            if isinstance(entry, Call) and entry.committed is not None:
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
        self, batch: list[Call | Append], conflicts: int = 0
    ) -> list[tuple[asyncio.Future[Any], Any]]:
        try:
            with self.transactions.timed():
                return self._transaction(batch)
        except BaseException as error:
            if is_conflict(error) and conflicts < CONFLICTS:
                # In the writer's own thread, so that nothing else is blocked.
                time.sleep(random.uniform(0, 0.01 * 2**conflicts))
                return self._commit(batch, conflicts + 1)
            if is_lock_wait(error) and len(batch) == 1 and self._may_be_put_off(batch[0]):
                return []
            outage = is_outage(error)
            if outage:
                self._connection.give_up()
            if outage or len(batch) == 1:
                return [(entry.answer, translated(error)) for entry in batch]
            return [outcome for entry in batch for outcome in self._commit([entry])]

    def _may_be_put_off(self, entry: Call | Append) -> bool:
        """Put off a write whose row is locked; False once `LOCKED_S` have passed. It is dropped if its caller is gone."""
        entry.put_off_s = entry.put_off_s or time.monotonic()
        if entry.answer.done():
            return True
        if time.monotonic() - entry.put_off_s > LOCKED_S:
            return False
        self._put_off.append(entry)
        return True

    def _transaction(self, batch: list[Call | Append]) -> list[tuple[asyncio.Future[Any], Any]]:
        connection = self._connection.connected()
        self._callbacks.begin(connection)
        appends = [entry for entry in batch if isinstance(entry, Append)]
        outcomes: list[tuple[asyncio.Future[Any], Any]] = []
        names: list[str] = []
        try:
            if appends:  # first, so that a fan-out in the same batch includes them
                names.append("ingest")
                batched = [append.incoming for append in appends]
                recorded = self.holds.timed("ingest", partial(self._callbacks.keep, connection, batched))
                outcomes += zip((append.answer for append in appends), recorded, strict=True)
            for call in batch:
                if isinstance(call, Call):
                    outcome = self._tried(connection, call, alone=len(batch) == 1)
                    outcomes.append((call.answer, outcome))
                    if not isinstance(outcome, Exception):
                        names += [name for name, _ in call.units]
            self._notify("before", names)
            self.holds.timed(Holds.COMMIT, partial(self._connection.commit, connection))
        except BaseException:
            connection.rollback()
            raise
        self._notify("after", names)
        for call in batch:
            if isinstance(call, Call) and call.committed is not None:
                call.committed()
        return outcomes

    def _tried(self, connection: Connection, call: Call, *, alone: bool) -> list[Any] | Exception:
        """The values of the units. If one raises and others share the transaction, the call is rolled back, and its error
        returned."""
        if alone:
            return self._values(connection, call)
        _SAVEPOINT(connection)
        outcome: list[Any] | Exception
        try:
            outcome = self._values(connection, call)
        except BaseException as error:
            if is_outage(error) or is_conflict(error):
                raise
            _ROLL_BACK(connection)
            outcome = translated(error)
        _RELEASE(connection)
        return outcome

    def _values(self, connection: Connection, call: Call) -> list[Any]:
        return [self.holds.timed(name, partial(work, connection)) for name, work in call.units]

    def _notify(self, stage: Stage, names: Iterable[str]) -> None:
        for observer in self.observers:
            for name in names:
                observer(stage, name)
