"""Remembers which answers were written, so that a client that got none and asks again is recognised, and a second order is one.

It is stored after the answer was written, never before: if this process dies in between, the client has no answer, and its next
request must find the ticket unanswered.
"""

from __future__ import annotations

import asyncio
from functools import partial

import structlog

from storage import clock
from storage.engine import Database
from storage.errors import StorageError
from storage.tickets import tickets

log = structlog.get_logger("hookchain")


class Receipts:
    """The receipts of this process that are being stored."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._storing: dict[tuple[str, str], asyncio.Task[None]] = {}

    def written(self, client: str, digest: str, ticket_id: str) -> None:
        """The answer to an order was written."""
        key = (client, digest)
        before = self._storing.get(key)
        task = asyncio.create_task(self._store(ticket_id, before), name="receipt")
        self._storing[key] = task
        task.add_done_callback(lambda done: self._forget(key, done))

    async def settled(self, client: str, digest: str) -> None:
        """Return when all receipts for this order are stored: the newest waits for those before it."""
        if (task := self._storing.get((client, digest))) is not None:
            await asyncio.shield(task)

    async def stop(self) -> None:
        """Store what is left."""
        await asyncio.gather(*self._storing.values())

    async def _store(self, ticket_id: str, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        try:
            await self._database.write(
                "receipt",
                partial(tickets.mark_answered, ids=[ticket_id], now_ms=clock.now_ms()),
            )
        except StorageError as error:
            # Then the same order within two minutes counts as a repetition: nothing more is paid.
            log.warning("an answer that was written could not be noted", ticket=ticket_id, why=str(error))
        # The client's hook may be told from now on.
        self._database.wakeups.wake("events")

    def _forget(self, key: tuple[str, str], done: asyncio.Task[None]) -> None:
        if self._storing.get(key) is done:
            del self._storing[key]
