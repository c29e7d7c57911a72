"""Loop: say that this worker lives, lead where nobody does, and take over from those that are gone.

On a SQLite file one process works at a time, by a lock of the system's that ends with it: whoever has the lock knows
that all others are gone. On PostgreSQL any number work, each with a lease that it renews.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Collection

import structlog

from dispatcher.submit import Clock
from dispatcher.supervisor import Loop, uptime_s
from storage import leases, settlements
from storage.engine import Connection, Database
from storage.errors import NotDurable
from storage.leases import TTL_MS

log = structlog.get_logger("hookchain")

BEAT_S = 2.0
"""Between two words of a worker."""

MARGIN_S = 3.0
"""Seconds before its lease runs out from which on a worker sends nothing more."""

DROPPED_MS = 30_000
"""How long something is marked as ours before it is asked whether we have it in hand."""

InHand = Callable[[], tuple[Collection[int], Collection[str]]]
"""The deliveries and the submissions that this process is busy with, by id."""


class Membership:
    """This worker among the others. Until `join` it sends nothing and leads nothing."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.name = secrets.token_hex(6)
        self.is_alone = True
        self.in_hand: InHand = lambda: (frozenset(), frozenset())
        self._database = database
        self._clock = clock
        self._leads = False
        self._believed_until_s = 0.0
        self._may_sweep = False
        self._tidying = False
        self.loop = Loop("beat", self._turn, interval_s=BEAT_S)

    def leads(self) -> bool:
        """Whether the chores that one worker does for all are this one's."""
        return self._leads and self.may_send()

    def may_send(self) -> bool:
        """Whether the others still believe that this worker lives: what it sends now, nobody else will send."""
        return uptime_s() < self._believed_until_s

    def believed_until_s(self) -> float:
        """Until when they do, by `uptime_s`."""
        return self._believed_until_s

    async def join(self) -> None:
        """Be one of them, and take up what a process that is gone left behind."""
        if self._is_only:
            await self._database.write("release", leases.resign_all)
            await self._take_over()
        await self._turn()
        self.loop.start()

    async def leave(self) -> None:
        """What was not finished is given back now, and not when its silence is noticed."""
        await self.loop.stop()
        self._leads, self._believed_until_s = False, 0.0
        if self._is_only:
            return  # whoever has the lock next takes it up

        def leave(connection: Connection) -> tuple[int, int]:
            now_ms = self._clock()
            leases.resign(connection, self.name)
            released = leases.give_back_these(connection, leases.running(connection, self.name, now_ms + 1))
            return released, settlements.doubt(
                connection, leases.sending(connection, self.name, now_ms + 1), now_ms
            )

        try:
            self._told(*await self._database.write("release", leave))
        except NotDurable as error:
            log.warning("left without a word, the others will notice", why=str(error))

    @property
    def _is_only(self) -> bool:
        return self._database.worker_lock is not None

    async def _turn(self) -> None:
        asked_s = uptime_s()
        if self._is_only:
            self._leads, self._believed_until_s = True, math.inf
        else:
            role = await self._database.write_apart(
                "beat", lambda connection: leases.beat(connection, self.name, ttl_ms=TTL_MS)
            )
            self._believed_until_s = asked_s + TTL_MS / 1000 - MARGIN_S
            if role.leads != self._leads:
                log.info("leads" if role.leads else "leads no more", worker=self.name)
            self._leads, self.is_alone = role.leads, role.others == 0
            self._may_sweep = role.leads and role.may_sweep
        if not self._tidying:
            self._tidying = True
            self.loop.spawn(self._tidy())  # beside the beat, which must not wait for anything

    async def _tidy(self) -> None:
        """Give back what workers that are gone had in hand, and what is marked as ours and is not."""
        try:
            if self._may_sweep:
                await self._take_over()
            if any(await self._database.read(self._dropped)):
                self._told(*await self._database.write("release", self._give_back_dropped))
        finally:
            self._tidying = False

    async def _take_over(self) -> None:
        """Give back what workers that are gone had in hand."""

        def take_over(connection: Connection) -> tuple[int, int]:
            if not self._is_only and not leases.is_alive(connection, self.name):
                return 0, 0  # the database was away since we meant to: the others have been as silent as we
            left = leases.left_sending(connection)
            return leases.give_back(connection), settlements.doubt(connection, left, self._clock())

        self._told(*await self._database.write("release", take_over))

    def _dropped(self, connection: Connection) -> tuple[list[int], list[str]]:
        """What is marked as ours and is not in hand: its claim was committed, and the word of it was lost."""
        deliveries, submissions = self.in_hand()
        before_ms = self._clock() - DROPPED_MS
        running = leases.running(connection, self.name, before_ms)
        sending = leases.sending(connection, self.name, before_ms)
        return [one for one in running if one not in deliveries], [
            one for one in sending if one not in submissions
        ]

    def _give_back_dropped(self, connection: Connection) -> tuple[int, int]:
        running, sending = self._dropped(connection)
        given_back = leases.give_back_these(connection, running)
        return given_back, settlements.doubt(connection, sending, self._clock())

    def _told(self, released: int, doubtful: int) -> None:
        if released or doubtful:
            log.info("recovered", deliveries_given_back=released, submissions_uncertain=doubtful)
            self._database.wakeups.wake("events", "submissions")
