"""Loop: packs the payloads of older events in idle moments, so that a file grows by a third of what is received."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from dispatcher.loops.loop import Loop
from storage.clock import Clock
from storage.engine import Database
from storage.events import packing

EVERY_S = 60.0
"""Seconds between two passes."""

AGE_MS = 5 * 60_000
"""How old an event is before it is packed: what is read most, the newest payload of a running task, is younger."""

ROWS_PER_BATCH = 50
"""For how many events one transaction stores their payloads, which takes the writer a few milliseconds."""

PAUSE_S = 0.02
"""The shortest pause between two batches, in which others can use the writer."""

SHARE = 0.1
"""The part of the time that packing may take, while it has much to catch up with."""


class Packer:
    """Packs the payloads of older events."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self.loop = Loop("pack", self.turn, interval_s=EVERY_S)

    async def turn(self) -> None:
        """One pass: all events that are old enough, and were not looked at before."""
        before_ms = self._clock() - AGE_MS
        while not self.loop.is_stopping and self.loop.may_turn():
            took_s = 0.0
            if not self._database.is_busy:
                began_s = time.monotonic()
                if not await self._pack(before_ms):
                    return
                took_s = time.monotonic() - began_s
            await asyncio.sleep(max(PAUSE_S, took_s * (1 / SHARE - 1)))

    async def _pack(self, before_ms: int) -> bool:
        """Pack a batch; False if there was nothing left. The readers' thread packs, so that the writer only writes."""
        batch = await self._database.look(
            partial(packing.following, before_ms=before_ms, most=ROWS_PER_BATCH)
        )
        if batch.last == batch.after:
            return False
        await self._database.write("pack", partial(packing.store, batch=batch))
        return True
