"""Loop: when somebody sets the clock, moves the times of unfinished work, so that nothing runs an hour late or a day early.

On SQLite, the process that works on the file compares the machine's clock with its uptime, which nobody can set. On PostgreSQL the
server's clock decides (storage/clock.py), and only times that this clock makes impossible are corrected.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import structlog

from dispatcher.loops.loop import Loop
from storage import clock, clock_steps
from storage.clock import STEP_MS, Base
from storage.engine import Database

log = structlog.get_logger("hookchain")

EVERY_S = 1.0
"""Seconds between two looks at the machine's clock."""

MENDED_EVERY_S = 60.0
"""Seconds between two searches for times that lie impossibly far ahead."""


class Timekeeper:
    """Corrects the times of unfinished work. `leads` returns True if this process does the chores of a leader."""

    def __init__(self, database: Database, leads: Callable[[], bool]) -> None:
        self._database = database
        self._leads = leads
        self._is_file = database.worker_lock is not None
        self._stored_ms = 0
        self._mended_s = clock.uptime_s()
        self.loop = Loop("clock", self.turn, interval_s=EVERY_S)

    async def take_over(self) -> None:
        """Begin to work on a file: the clock may have been set since the last write."""
        if self._is_file:
            await self._move()

    async def turn(self) -> None:
        """Compare the clocks once."""
        wall_base_ms = clock.wall_base_ms()  # once: the clock may be set between two reads
        if not self._is_file:
            await self._database.follow_clock()
        elif abs(wall_base_ms - self._stored_ms) >= STEP_MS // 2:
            await self._move()
        else:
            clock.follow(wall_base_ms)
        if self._leads() and clock.uptime_s() - self._mended_s >= MENDED_EVERY_S:
            self._mended_s = clock.uptime_s()
            await self._mend()

    async def _move(self) -> None:
        """Adapt the file's times to the machine's clock. The base that the file has stored decides by how much they move.

        Times and clock change together between two transactions; otherwise work claimed in between would leave days early.
        """
        wall_base_ms = clock.wall_base_ms()
        base, now_ms = Base(clock.boot_id(), wall_base_ms), wall_base_ms + int(1000 * clock.uptime_s())
        step_ms = await self._database.write_alone(
            "clock",
            partial(clock_steps.adopt, base=base, now_ms=now_ms),
            committed=partial(_follow, wall_base_ms),
        )
        self._stored_ms = wall_base_ms
        if step_ms:
            log.warning(
                "the clock was set: the times of unfinished work move with it", by_s=round(step_ms / 1000, 1)
            )
            self._database.wakeups.wake("events", "submissions", "asks")

    async def _mend(self) -> None:
        now_ms = clock.now_ms()
        if not await self._database.read(
            lambda connection: clock_steps.is_any_impossible(connection, now_ms)
        ):
            return
        mended = await self._database.write("clock", lambda connection: clock_steps.mend(connection, now_ms))
        log.warning("impossible times in the future were corrected", rows=mended)
        self._database.wakeups.wake("events", "submissions", "asks")


def _follow(wall_base_ms: int) -> None:
    clock.follow(wall_base_ms, within_ms=0)
