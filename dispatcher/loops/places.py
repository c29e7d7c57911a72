"""Loop: frees the place of an uncertain submission after the longest job, when its task would have ended."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import structlog

from dispatcher.loops.loop import Loop
from dispatcher.policy.stalls import longest_job_ms
from midjourney.client import Client
from storage import clock
from storage.engine import Connection, Database
from storage.submissions import places

log = structlog.get_logger("hookchain")

EVERY_S = 2.0


class Places:
    """Frees places that uncertain submissions hold."""

    def __init__(self, database: Database, clients: Mapping[str, Client]) -> None:
        self._database = database
        self._clients = clients
        self.loop = Loop("places", self.turn, interval_s=EVERY_S)

    async def turn(self) -> None:
        """Free the places of submissions whose job would have ended."""
        over = await self._database.read(self._over)
        freed = await self._database.write("places", partial(places.free, submission_ids=over)) if over else 0
        if freed:
            log.info(
                "uncertain submissions no longer hold places: the longest job would be over", submissions=over
            )
            self._database.wakeups.wake("submissions")

    def _over(self, connection: Connection) -> list[str]:
        holders = places.holders(connection)
        longest_ms = {
            name: longest_job_ms(self._clients[name].upstream, places.longest_ms(connection, name))
            for name in {holder.upstream for holder in holders} & self._clients.keys()
        }
        now_ms = clock.now_ms()
        return [
            holder.id
            for holder in holders
            if holder.upstream in longest_ms and now_ms - holder.updated_at_ms > longest_ms[holder.upstream]
        ]
