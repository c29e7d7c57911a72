"""Loop: adds the counts of this process to those in the database, every few seconds and when it stops.

If the database refuses the figures, they are kept and written later. A killed process loses the figures since its last turn: up to
ten seconds of figures, but never a callback. If the connection breaks during a commit, its ten seconds may count twice.
"""

from __future__ import annotations

import asyncio
from functools import partial

import structlog

from dispatcher.loops.loop import Loop
from storage import traffic
from storage.engine import Database
from storage.errors import NotDurable

log = structlog.get_logger("hookchain")

EVERY_S = 10.0
"""Seconds between two turns; also how far charts may be behind."""

LAST_WITHIN_S = 1.0
"""Seconds for the turn under way, and for the last one, when the process stops."""


class TrafficCount:
    """Writes the figures of one process. Every process has one, whether it receives, works, or both."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.loop = Loop("tally", self.turn, interval_s=EVERY_S)

    async def turn(self) -> None:
        """Write what was counted, if anything. Raises `NotDurable`, and then keeps the figures."""
        minutes = self._database.meter.take()
        if not minutes:
            return
        try:
            await self._database.write("traffic", partial(traffic.add, minutes=minutes))
        except Exception:  # not when cancelled: then the write still happens
            self._database.meter.give_back(minutes)
            raise

    async def stop(self) -> None:
        """Stop, and write the rest. Call it after everything else has stopped: later counts are lost."""
        await self.loop.stop(LAST_WITHIN_S)
        try:
            async with asyncio.timeout(LAST_WITHIN_S):
                await self.turn()
        except (NotDurable, TimeoutError) as error:
            log.error("figures of the last seconds may be lost", why=str(error))
