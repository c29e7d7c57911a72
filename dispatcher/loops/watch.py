"""Loop: logs when submissions that are due do not leave, with the reason, and when they leave again."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from dispatcher.loops.loop import Loop
from dispatcher.policy.stalls import Stall, longest_job_ms, stall
from midjourney.dialects import Upstream
from storage import clock
from storage.engine import Connection, Database
from storage.reading import backlog
from storage.submissions import places
from storage.workers import leases

log = structlog.get_logger("hookchain")

EVERY_S = 5.0
LOG_AGAIN_S = 600.0
"""Seconds until a stall that persists is logged again."""


def stalls(connection: Connection, upstreams: Mapping[str, Upstream]) -> dict[str, Stall]:
    """The stalls, by upstream."""
    now_ms = clock.now_ms()
    is_file = connection.dialect.name == "sqlite"
    works = is_file or leases.alive(connection) > 0
    alive_ms = leases.alive_for_ms(connection)
    stalled = {}
    for name, waiting in backlog.backlogs(connection, upstreams, now_ms).items():
        longest_ms = longest_job_ms(
            upstreams[name], places.longest_ms(connection, name) if waiting.due else 0
        )
        why = stall(
            upstreams[name],
            waiting,
            now_ms,
            works=works,
            longest_ms=longest_ms,
            works_since_ms=0 if alive_ms is None else now_ms - alive_ms,
        )
        if why is not None:
            stalled[name] = why
    return stalled


class Watch:
    """Logs stalls."""

    def __init__(self, database: Database, upstreams: Mapping[str, Upstream]) -> None:
        self._database = database
        self._upstreams = upstreams
        self._logged: dict[str, tuple[bool, float]] = {}
        self.loop = Loop("watch", self.turn, interval_s=EVERY_S)

    async def turn(self) -> None:
        """Log stalls that began or ended."""
        stalled = await self._database.read(lambda connection: stalls(connection, self._upstreams))
        for name in self._logged.keys() - stalled.keys():
            del self._logged[name]
            log.info("submissions leave again", upstream=name)
        for name, current in stalled.items():
            is_fault, logged_s = self._logged.get(name, (False, 0.0))
            is_new = name not in self._logged or current.is_fault > is_fault
            if is_new or clock.uptime_s() - logged_s >= LOG_AGAIN_S:
                self._logged[name] = (current.is_fault, clock.uptime_s())
                (log.warning if current.is_fault else log.info)(current.sentence, upstream=name)
