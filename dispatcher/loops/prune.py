"""Loop: deletes what retention no longer keeps, in small batches, so that callbacks never wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from dispatcher.loops.loop import Loop
from dispatcher.policy.retention import Retention
from storage import ended_chains, pruning, settings, traffic
from storage.blobs.store import BlobStore
from storage.budgets import counters
from storage.clock import Clock, uptime_s
from storage.engine import Connection, Database
from storage.events import quarantine
from storage.pruning import Cursor
from storage.tickets import tickets

log = structlog.get_logger("hookchain")

DAY_MS = 24 * 3_600_000

EVERY_S = 600.0
"""Seconds between two passes."""

ROWS_PER_BATCH = 500
"""About how many rows one transaction looks at, which takes the writer some milliseconds."""

CHAINS_PER_BATCH = 100
"""For how many chains a reader finds out at once which have ended."""

TRAFFIC_DAYS = 8
"""How many days the figures of charts are kept: a week, and the day to compare today with."""

TRAFFIC_PER_BATCH_MS = 500 * 60_000
"""How much of these figures one transaction deletes: 500 minutes of up to four rows each."""

BUDGETS_MS = 400 * DAY_MS
"""How long periods of budgets are kept after their end, so that the same month last year is still there."""

PAUSE_S = 0.05
"""Seconds between two batches, in which others can use the writer."""


CATCH_UP = 24
"""After a gap, pruning catches up this many times faster than real time: after a month off, a machine needs thirty hours, and a
clock that is wrong by a year for an hour costs only a day of data."""

LAST_PASS = "pruned"

Drop = Callable[..., tuple[int, int]]
"""Looks at the events that follow one, and drops some of them: see storage/pruning.py."""


def pruning_time(now_ms: int, last_ms: int, passed_ms: int) -> int:
    """The time from which ages are counted: the clock's, unless that is implausibly far from the last pass.

    `last_ms` is the time that the last pass used, and `passed_ms` the time since then by a clock that nobody sets, 0 if unknown.
    """
    return min(now_ms, last_ms + CATCH_UP * passed_ms)


class Pruner:
    """Deletes what retention no longer keeps."""

    def __init__(
        self, database: Database, keep: Retention, clock: Clock, blobs: BlobStore | None = None
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._keep = keep
        self._clock = clock
        self._thinned = self._dropped = 0
        self._turned_s = uptime_s()
        self.loop = Loop("prune", self.turn, interval_s=EVERY_S)

    async def turn(self) -> None:
        """One pass over all tables."""
        now_ms, events, chains, tasks = await self._pruning_time_ms(), 0, 0, 0
        if self._keep.progress_days:
            before_ms = now_ms - int(DAY_MS * self._keep.progress_days)
            self._thinned, events = await self._each_event(pruning.thin, self._thinned, before_ms)
        if self._keep.chain_days:
            before_ms = now_ms - int(DAY_MS * self._keep.chain_days)
            chains = await self._drop_chains(before_ms)
            tasks = await self._drop_tasks(before_ms)
            self._dropped, alone = await self._each_event(pruning.drop_alone, self._dropped, before_ms)
            events += alone
            await self._drop_tickets(before_ms)
        await self._trim_quarantine()
        await self._drop_traffic(now_ms - DAY_MS * TRAFFIC_DAYS)
        await self._database.write(
            "prune", lambda connection: counters.drop_old(connection, now_ms - BUDGETS_MS)
        )
        if self._blobs is not None:
            await self._drop_blobs(self._blobs)
        if events or chains or tasks:
            log.info("pruned", events_thinned=events, chains=chains, tasks_without_chain=tasks)

    async def _pruning_time_ms(self) -> int:
        """The time from which ages are counted in this pass."""
        now_ms, turned_s = self._clock(), uptime_s()
        passed_ms, self._turned_s = int(1000 * (turned_s - self._turned_s)), turned_s

        def begin_pass(connection: Connection) -> int:
            last = settings.value(connection, LAST_PASS)
            at_ms = now_ms if last is None else pruning_time(now_ms, int(last), passed_ms)
            settings.keep(connection, LAST_PASS, str(at_ms))
            return at_ms

        at_ms = await self._database.write("prune", begin_pass)
        if now_ms - at_ms > DAY_MS and (self._keep.progress_days or self._keep.chain_days):
            log.warning(
                "the clock is far ahead of the last pass: old rows are deleted gradually",
                days=(now_ms - at_ms) // DAY_MS,
                cure="if the clock is wrong, set it now",
            )
        return at_ms

    async def _each_event(self, drop: Drop, after: int, before_ms: int) -> tuple[int, int]:
        """Look once at each event after this one that is old enough; returns the last one, and how many were dropped."""
        gone = 0
        while not self.loop.is_stopping:
            last, dropped = await self._database.write(
                "prune", partial(drop, after=after, before_ms=before_ms, most=ROWS_PER_BATCH)
            )
            gone += dropped
            if last == after:
                break
            after = last
            await asyncio.sleep(PAUSE_S)
        return after, gone

    async def _drop_chains(self, before_ms: int) -> int:
        gone, at = 0, Cursor()
        while not self.loop.is_stopping:
            following, ended = await self._database.look(
                partial(ended_chains.find, cursor=at, before_ms=before_ms, most=CHAINS_PER_BATCH)
            )
            gone += await self._drop_ended(ended, before_ms)
            if following is None:
                break
            at = following
        return gone

    async def _drop_ended(self, chain_ids: list[str], before_ms: int) -> int:
        gone, left = 0, chain_ids
        while left and not self.loop.is_stopping:
            left, dropped = await self._database.write(
                "prune",
                partial(ended_chains.drop, chain_ids=left, before_ms=before_ms, most=ROWS_PER_BATCH),
            )
            gone += dropped
            await asyncio.sleep(PAUSE_S)
        return gone

    async def _drop_tasks(self, before_ms: int) -> int:
        gone, at = 0, Cursor()
        while not self.loop.is_stopping:
            following, dropped = await self._database.write(
                "prune", partial(pruning.drop_tasks, cursor=at, before_ms=before_ms, most=ROWS_PER_BATCH)
            )
            gone += dropped
            if following is None:
                break
            at = following
            await asyncio.sleep(PAUSE_S)
        return gone

    async def _drop_tickets(self, before_ms: int) -> None:
        while not self.loop.is_stopping:
            if not await self._database.write(
                "prune", partial(tickets.drop_old, before_ms=before_ms, most=ROWS_PER_BATCH)
            ):
                break
            await asyncio.sleep(PAUSE_S)

    async def _drop_blobs(self, blobs: BlobStore) -> None:
        """Their age counts by the clock alone: it is set by what uses them, and a lost one costs nobody money."""
        while not self.loop.is_stopping:
            if not await blobs.prune(self._clock()):
                break
            await asyncio.sleep(PAUSE_S)
        await blobs.clean(self._clock())

    async def _trim_quarantine(self) -> None:
        rows, size, gone = self._keep.quarantine_rows, self._keep.quarantine_bytes, 0
        while not self.loop.is_stopping:
            batch = await self._database.write(
                "prune", partial(quarantine.trim, most_rows=rows, most_bytes=size, most=ROWS_PER_BATCH)
            )
            if not batch:
                break
            gone += batch
            await asyncio.sleep(PAUSE_S)
        if gone:
            log.warning("quarantine was over its limits: hookchain deleted the oldest entries", entries=gone)

    async def _drop_traffic(self, before_ms: int) -> None:
        while not self.loop.is_stopping:
            if not await self._database.write(
                "prune", lambda connection: traffic.prune(connection, before_ms, TRAFFIC_PER_BATCH_MS)
            ):
                break
            await asyncio.sleep(PAUSE_S)
