"""Loop: approvals whose time is over are dropped or sent, as their rules want."""

from __future__ import annotations

from functools import partial

from dispatcher.approvals import deciding
from dispatcher.loops.loop import Loop
from storage import clock
from storage.engine import Database
from storage.submissions import approvals

EVERY_S = 2.0
"""A decision after the end comes too late whenever this loop looks: see storage/submissions/decisions.py."""

AT_ONCE = 100
"""Approvals that one turn looks at."""


class Expiring:
    """Ends the time of approvals."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.loop = Loop("expire approvals", self._turn, interval_s=EVERY_S)

    async def _turn(self) -> None:
        over = await self._database.read(partial(approvals.expired, now_ms=clock.now_ms(), most=AT_ONCE))
        for approval_id in over:
            await deciding.expire(self._database, approval_id)
        if len(over) == AT_ONCE:
            self.loop.wake()
