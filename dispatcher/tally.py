"""Loop: what this process counted is added to what all have counted, every few seconds and when it stops.

Figures that the database does not take are kept and tried again. What a process that is killed had counted since its
last turn is lost: ten seconds of figures, and never a callback. Where nobody knows whether a write was kept, since the
connection broke within its commit, its ten seconds may count twice.
"""

from __future__ import annotations

import asyncio
from functools import partial

import structlog

from dispatcher.supervisor import Loop
from storage import traffic
from storage.engine import Database
from storage.errors import NotDurable

log = structlog.get_logger("hookchain")

EVERY_S = 10.0
"""Between two turns; also how far charts may be behind."""

LAST_WITHIN_S = 1.0
"""Seconds for the turn under way, and for the last one, when the process stops."""


class Tally:
    """Carries the figures of one process. Every process has one, whether it receives, works, or both."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.loop = Loop("tally", self.turn, interval_s=EVERY_S)

    async def turn(self) -> None:
        """Write what was counted; nothing where nothing was. Raises `NotDurable`; the figures stay then."""
        minutes = self._database.meter.take()
        if not minutes:
            return
        try:
            await self._database.write("traffic", partial(traffic.add, minutes=minutes))
        except Exception:  # not when cancelled: that write waits on, and is still done
            self._database.meter.give_back(minutes)
            raise

    async def stop(self) -> None:
        """Stop, and write the rest. When all others have stopped: what they count afterwards is lost."""
        await self.loop.stop(LAST_WITHIN_S)
        try:
            async with asyncio.timeout(LAST_WITHIN_S):
                await self.turn()
        except (NotDurable, TimeoutError) as error:
            log.error("figures of the last seconds may be lost", why=str(error))
