"""Loop: renews this worker's lease, becomes the leader if there is none, and takes over from workers that are gone.

On a SQLite file only one process works at a time: it holds an operating-system lock that ends with the process, so the holder knows
that all others are gone. On PostgreSQL any number of workers run, each with a lease that it renews.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Collection, Sequence

import structlog

from dispatcher.loops.loop import Loop
from storage.clock import Clock, uptime_s
from storage.deliveries import suspects
from storage.deliveries.suspects import GivenBack, LongestMs
from storage.duty import held, protocol
from storage.duty.duties import DELIVERIES, SUBMISSIONS
from storage.duty.held import Held
from storage.engine import Connection, Database
from storage.errors import NotDurable
from storage.submissions import interrupted
from storage.submissions.departures import Departures
from storage.workers import leases
from storage.workers.leases import TTL_MS

log = structlog.get_logger("hookchain")

BEAT_S = 2.0
"""Seconds between two renewals of the lease."""

MARGIN_S = 3.0
"""A worker stops sending this many seconds before its lease runs out."""

DROPPED_MS = 30_000
"""After this time, work that is claimed by this process is checked for whether the process knows of it."""

InHand = Callable[[], tuple[Collection[int], Collection[str]]]
"""Returns the ids of the deliveries and of the submissions that this process is working on."""


class Membership:
    """The membership of this worker among the others. Before `join` it neither sends nor leads."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.name = secrets.token_hex(6)
        self.is_alone = True
        self.in_hand: InHand = lambda: (frozenset(), frozenset())
        self.longest_ms: LongestMs = lambda _receiver: 0
        self.departures = Departures(database.path, self.name, clock)
        self._database = database
        self._clock = clock
        self._leads = False
        self._may_send_until_s = 0.0
        self._may_sweep = False
        self._tidying = False
        self.loop = Loop("beat", self._turn, interval_s=BEAT_S)

    def leads(self) -> bool:
        """True if this worker is the leader, which does the common chores."""
        return self._leads and self.may_send()

    def may_send(self) -> bool:
        """True while the others count this worker as alive: nobody else sends what it sends now."""
        return uptime_s() < self._may_send_until_s

    def may_send_until_s(self) -> float:
        """Until when `may_send` is true, by `uptime_s`."""
        return self._may_send_until_s

    async def join(self) -> None:
        """Join the workers, and take over what a process that is gone left behind."""
        if self._is_only:
            await self._take_over()
            self.departures.begin()
            await self._database.write("release", lambda connection: leases.enter(connection, self.name))
        await self._turn()
        self.loop.start()

    async def stopping(self) -> None:
        """Note that this process was asked to stop, and may be killed before it has."""
        try:
            await self._database.write("release", lambda connection: suspects.clear(connection, self.name))
        except NotDurable as error:
            log.warning(
                "if this process is killed now, its receivers may be suspected of ending it", why=str(error)
            )

    async def leave(self) -> None:
        """Give unfinished work back now, rather than when the lease runs out."""
        await self.loop.stop()
        self._leads, self._may_send_until_s = False, 0.0
        self.departures.close()

        def leave(connection: Connection) -> tuple[int, int]:
            now_ms = self._clock()
            leases.resign(connection, self.name)
            running = held.by(connection, DELIVERIES, self.name, now_ms + 1)
            sending = held.by(connection, SUBMISSIONS, self.name, now_ms + 1)
            given_back = protocol.give_back(connection, DELIVERIES, running, now_ms)
            return given_back, interrupted.give_back(
                connection, sending, now_ms, self.departures.may_have_left
            )

        try:
            self._report(*await self._database.write("release", leave))
        except NotDurable as error:
            log.warning(
                "could not resign; the other workers will notice when the lease runs out", why=str(error)
            )

    @property
    def _is_only(self) -> bool:
        return self._database.worker_lock is not None

    async def _turn(self) -> None:
        renewed_s = uptime_s()
        if self._is_only:
            self._leads, self._may_send_until_s = True, math.inf
        else:
            role = await self._database.write_separately(
                "beat", lambda connection: leases.beat(connection, self.name, ttl_ms=TTL_MS)
            )
            self._may_send_until_s = renewed_s + TTL_MS / 1000 - MARGIN_S
            if role.leads != self._leads:
                log.info("leads" if role.leads else "no longer leads", worker=self.name)
            self._leads, self.is_alone = role.leads, role.others == 0
            self._may_sweep = role.leads and role.may_sweep
        if not self._tidying:
            self._tidying = True
            self.loop.spawn(self._tidy())  # in the background: the heartbeat must not wait for it

    async def _tidy(self) -> None:
        """Give back the work of workers that are gone, and work that is claimed by this process but unknown to it."""
        try:
            if self._may_sweep:
                await self._take_over()
            if any(await self._database.read(self._dropped)):
                self._report(*await self._database.write("release", self._give_back_dropped))
        finally:
            self._tidying = False

    async def _take_over(self) -> None:
        """Give back the work of workers that are gone."""

        def take_over(connection: Connection) -> tuple[GivenBack, int]:
            if not self._is_only and not leases.is_alive(connection, self.name):
                # The database was unreachable meanwhile, so the other workers could not renew their leases either.
                return GivenBack(), 0
            now_ms = self._clock()
            gone = leases.bury(connection, all_of_them=self._is_only)
            sending = [held.attempt_of(row) for row in held.left(connection, SUBMISSIONS)]
            given_back = suspects.give_back(connection, gone, self.longest_ms, now_ms)
            return given_back, self._give_back_sending(connection, sending)

        given_back, uncertain = await self._database.write("release", take_over)
        if given_back.suspects or given_back.charged:
            log.warning(
                "a process died while receivers ran, and one of them may have ended it: each will run alone next",
                suspects=given_back.suspects,
                alone_at_the_time=given_back.charged,
            )
        self._report(given_back.count, uncertain)

    def _give_back_sending(self, connection: Connection, left: Sequence[Held]) -> int:
        """Give back what workers that are gone were sending, and return how many submissions are uncertain now. If the last worker
        on this machine noted which requests left, those that did not wait again."""
        now_ms, before = self._clock(), self.departures.before() if self._is_only else None
        known = set(held.by(connection, SUBMISSIONS, before.worker, now_ms + 1) if before is not None else ())
        of_last = [attempt for attempt in left if attempt in known]
        of_others = [attempt for attempt in left if attempt not in known]
        uncertain = interrupted.give_back(connection, of_others, now_ms)
        if before is not None:
            uncertain += interrupted.give_back(connection, of_last, now_ms, before.may_have_left)
        return uncertain

    def _dropped(self, connection: Connection) -> tuple[list[Held], list[Held]]:
        """Work that is claimed by this process but unknown to it: the answer to the claim's commit was lost, or its end could not be
        written."""
        deliveries, submissions = self.in_hand()
        before_ms = self._clock() - DROPPED_MS
        running = held.by(connection, DELIVERIES, self.name, before_ms)
        sending = held.by(connection, SUBMISSIONS, self.name, before_ms)
        return [row for row in running if row.id not in deliveries], [
            row for row in sending if row.id not in submissions
        ]

    def _give_back_dropped(self, connection: Connection) -> tuple[int, int]:
        (running, sending), now_ms = self._dropped(connection), self._clock()
        given_back = protocol.give_back(connection, DELIVERIES, running, now_ms)
        return given_back, interrupted.give_back(connection, sending, now_ms, self.departures.may_have_left)

    def _report(self, given_back: int, uncertain: int) -> None:
        if given_back or uncertain:
            log.info("recovered", deliveries_given_back=given_back, submissions_uncertain=uncertain)
            self._database.wakeups.wake("events", "submissions")
