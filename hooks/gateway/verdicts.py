"""Waits for the upstream's first word about an order. One loop reads for all orders that wait, whichever process sends them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec
import structlog

from dispatcher.tickets.answers import Envelope, Opens, accepted, verdict
from storage import clock
from storage.engine import Connection, Database
from storage.errors import StorageError
from storage.records import Ticket
from storage.tickets import tickets
from storage.tickets.known import Known, known

log = structlog.get_logger("hookchain")

GAP_S = 0.002
"""Pause between two reads, so that many answers at the same moment are read together."""

FIRST_LOOK_S = 0.02
"""How long after an order it is looked at without news: its upstream may be stopped, or its task may be there already. A look before
that would only take time from what sends it."""

LONGEST_GAP_S = 0.5
"""Another process may send the order, and its wake-up may be lost."""


class Waiting(msgspec.Struct):
    """An order that waits."""

    ticket: Ticket
    code_if_queued: int
    told: asyncio.Future[Envelope | Opens]


class Verdicts:
    """All orders of this process that wait for a verdict."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[int, Waiting] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        database.wakeups.subscribe("events", self._wake.set)

    async def wait(self, ticket: Ticket, within_s: float, *, code_if_queued: int) -> Envelope | Opens:
        """What the client is told. After `within_s` without a word of the upstream, that its order is accepted."""
        told: asyncio.Future[Envelope | Opens] = asyncio.get_running_loop().create_future()
        if not self._waiting:
            self._wake.clear()  # older news are not about this order
        self._waiting[id(told)] = Waiting(ticket, code_if_queued, told)
        asyncio.get_running_loop().call_later(FIRST_LOOK_S, self._wake.set)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="verdicts")
        try:
            async with asyncio.timeout(within_s):
                return await told
        except TimeoutError:
            return accepted(ticket.id, queued=1, code=code_if_queued)
        finally:
            self._waiting.pop(id(told), None)

    async def _run(self) -> None:
        while self._waiting:
            try:
                async with asyncio.timeout(LONGEST_GAP_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            waiting = list(self._waiting.values())
            try:
                found = await self._database.read(partial(_read, ids=[one.ticket.id for one in waiting]))
            except StorageError as error:
                log.warning("orders wait for a database that cannot be read", why=str(error))
                await asyncio.sleep(LONGEST_GAP_S)
                continue
            for one in waiting:
                if (seen := found.get(one.ticket.id)) is not None:
                    _tell(one, seen)
            await asyncio.sleep(GAP_S)

    async def stop(self) -> None:
        """End the loop: who still waits is answered by its time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _read(connection: Connection, ids: Sequence[str]) -> dict[str, Known]:
    """What is known of the tickets about which there may be something to tell, by id."""
    now_ms = clock.now_ms()
    decidable = tickets.decidable(connection, ids, now_ms)
    return {seen.ticket.id: seen for seen in known(connection, decidable, now_ms)}


def _tell(waiting: Waiting, seen: Known) -> None:
    told = verdict(seen, code_if_queued=waiting.code_if_queued)
    submission = seen.submission
    if told is None and submission is not None and submission.state == "waiting" and not submission.attempts:
        # Nothing is sent to its upstream now: else it would not be among those that were read.
        told = accepted(waiting.ticket.id, queued=1, code=waiting.code_if_queued)
    if told is not None and not waiting.told.done():
        waiting.told.set_result(told)
