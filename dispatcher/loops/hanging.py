"""Loop: reports tasks that hang, by the signal task.overdue.

A task hangs if it has not ended, and nothing new was heard of it for `overdue_after_s` of its upstream, although the poller asks about it. Without
receivers of the signal nothing is searched. A task that hung before hookchain began to listen, or since a database was restored, and was last heard of
more than a day ago is history.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping

import structlog

from dispatcher.loops.loop import Loop
from midjourney.dialects import Upstream
from storage.clock import Clock
from storage.engine import Database
from storage.tasks import hanging

log = structlog.get_logger("hookchain")

EVERY_S = 10.0
SOME = 100
"""The most tasks of an upstream that are reported in one turn."""

HISTORY_MS = 24 * 3600 * 1000


class Hanging:
    """Reports tasks that hang, each once."""

    def __init__(
        self,
        database: Database,
        upstreams: Mapping[str, Upstream],
        connected_signals: Callable[[], Container[str]],
        clock: Clock,
    ) -> None:
        self._database = database
        self._upstreams = upstreams
        self._connected_signals = connected_signals
        self._clock = clock
        self.loop = Loop("report hanging tasks", self._turn, interval_s=EVERY_S)

    async def _turn(self) -> None:
        if hanging.SIGNAL not in self._connected_signals():
            return
        for name, upstream in self._upstreams.items():
            if upstream.overdue_after_s:
                await self._report(name, round(1000 * upstream.overdue_after_s))

    async def _report(self, name: str, after_ms: int) -> None:
        now_ms = self._clock()
        silent_since_ms, heard_since_ms = now_ms - after_ms, now_ms - after_ms - HISTORY_MS
        found = await self._database.read(
            lambda connection: hanging.find(connection, name, silent_since_ms, heard_since_ms, SOME)
        )
        if not found:
            return
        reported = await self._database.write(
            "overdue", lambda connection: hanging.report(connection, found, silent_since_ms, now_ms)
        )
        if reported:
            log.warning("tasks hang", upstream=name, tasks=reported)
            self._database.wakeups.wake("events")
        if len(found) == SOME:
            self.loop.wake()
