"""Loop: what has had its time goes, a bite at a time, so that a callback never waits for it."""

from __future__ import annotations

import asyncio
from functools import partial

import structlog

from dispatcher.retention import Retention
from dispatcher.submit import Clock
from dispatcher.supervisor import Loop
from storage import retention, traffic
from storage.engine import Database
from storage.retention import Cursor

log = structlog.get_logger("hookchain")

DAY_MS = 24 * 3_600_000

EVERY_S = 600.0
"""Between two passes."""

EVENTS_A_BITE, CHAINS_A_BITE = 500, 10
"""What one transaction looks at: some milliseconds of the writer's time."""

TRAFFIC_DAYS = 8
"""How long the figures of charts are kept: a week, and the same day of the week before beside today."""

TRAFFIC_A_BITE_MS = 500 * 60_000
"""What one transaction drops of them: so many minutes, up to four rows each."""

BREATH_S = 0.05
"""Between two bites the writer is everybody else's."""


class Pruner:
    """Looks for what may go."""

    def __init__(self, database: Database, keep: Retention, clock: Clock) -> None:
        self._database = database
        self._keep = keep
        self._clock = clock
        self._thinned = 0
        self.loop = Loop("prune", self.turn, interval_s=EVERY_S)

    async def turn(self) -> None:
        """One pass over all there is."""
        now_ms, events, chains, tasks = self._clock(), 0, 0, 0
        if self._keep.progress_days:
            events = await self._thin(now_ms - int(DAY_MS * self._keep.progress_days))
        if self._keep.chain_days:
            before_ms = now_ms - int(DAY_MS * self._keep.chain_days)
            chains = await self._drop_chains(before_ms)
            tasks = await self._drop_tasks(before_ms)
        await self._drop_traffic(now_ms - DAY_MS * TRAFFIC_DAYS)
        if events or chains or tasks:
            log.info("pruned", events_thinned=events, chains=chains, tasks_without_chain=tasks)

    async def _thin(self, before_ms: int) -> int:
        gone = 0
        while not self.loop.is_stopping:
            last, thinned = await self._database.write(
                "prune",
                lambda connection: retention.thin(connection, self._thinned, before_ms, EVENTS_A_BITE),
            )
            gone += thinned
            if last == self._thinned:
                break
            self._thinned = last
            await asyncio.sleep(BREATH_S)
        return gone

    async def _drop_chains(self, before_ms: int) -> int:
        gone, at = 0, Cursor()
        while not self.loop.is_stopping:
            following, dropped = await self._database.write(
                "prune",
                partial(retention.drop_chains, cursor=at, before_ms=before_ms, most=CHAINS_A_BITE),
            )
            gone += dropped
            if following is None:
                break
            at = following
            await asyncio.sleep(BREATH_S)
        return gone

    async def _drop_tasks(self, before_ms: int) -> int:
        gone = 0
        while not self.loop.is_stopping:
            dropped = await self._database.write(
                "prune", lambda connection: retention.drop_tasks(connection, before_ms, CHAINS_A_BITE)
            )
            gone += dropped
            if not dropped:
                break
            await asyncio.sleep(BREATH_S)
        return gone

    async def _drop_traffic(self, before_ms: int) -> None:
        while not self.loop.is_stopping:
            if not await self._database.write(
                "prune", lambda connection: traffic.prune(connection, before_ms, TRAFFIC_A_BITE_MS)
            ):
                break
            await asyncio.sleep(BREATH_S)
