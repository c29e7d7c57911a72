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
import random
import time
from collections.abc import Callable, Container, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Engine

from midjourney.types import Status
from storage.ingest import ingest
from storage.link import Link
from storage.notify import Wakeups
from storage.outage import is_conflict, is_lock_wait, is_outage, translated
from storage.records import SIGNAL_OF_CHANGE, Incoming, Recorded

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

IDLE_S = 0.01
"""Seconds without a write that count as an idle moment."""

CONFLICTS = 8
"""How often work is done again that another process was in the way of, before it is refused."""

LOCKED_S = 15.0
"""Seconds for which a write is put off again and again while somebody holds its row; as long as a frozen process may."""

HANGS_S = 15.0
"""Seconds after which a server that says nothing is hung up on. Routers of platforms give up after 30 (Heroku: H12)."""


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
        self._link = Link(engine)
        self._wakeups = wakeups
        self._largest_batch = largest_batch
        self._wake_early = wake_early
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hookchain-writer")
        self._writing = 0
        self._put_off: list[_Call | _Append] = []
        self._waiting: list[_Call | _Append] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
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
                self._link.hang_up()
                await asyncio.wait([self._task], timeout=within_s)
                self._task.cancel()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._link.close)
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
                await loop.run_in_executor(self._thread, self._link.checkpoint)
                continue
            await asyncio.sleep(0)  # whoever is ready now rides along
            most = self._largest_batch
            batch, self._waiting = self._waiting[:most], self._waiting[most:]
            if not self._waiting and not self._stopping:
                self._wake.clear()
            if batch:
                self._writing = len(batch)
                committing = loop.run_in_executor(self._thread, self._commit, batch)
                if not self._link.is_file:
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
            self._link.hang_up()

    async def _woken(self) -> bool:
        """Wait for something to write; False when nothing came for a moment, and there is a journal to put away."""
        if not self._link.has_journal:
            await self._wake.wait()
            return True
        try:
            async with asyncio.timeout(IDLE_S):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

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
                self._link.give_up()
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
        connection = self._link.connected()
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
            self._link.commit(connection)
        except BaseException:
            connection.rollback()
            raise
        self._tell("after", names)
        return outcomes

    def _tell(self, stage: Stage, names: Iterable[str]) -> None:
        for observer in self.observers:
            for name in names:
                observer(stage, name)


def _answer(outcomes: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in outcomes:
        if future.done():  # the one who asked has gone; the write stands
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
