"""The server of a test: the real storage, deliverer and submitter, which take their turns only when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from dispatcher.approvals.asking import Asking
from dispatcher.loops.ask_again import Asker
from dispatcher.loops.deliver import Deliverer
from dispatcher.loops.loop import Loop
from dispatcher.loops.strike import Striker
from dispatcher.loops.submit import Submitter
from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.plugins.receivers import Registry
from dispatcher.plugins.vetoes import Vetoes
from dispatcher.policy import upstream_limits
from dispatcher.policy.chain_budget import Budget
from dispatcher.rules.expressions import evaluate_here
from dispatcher.rules.later import asking_plugins, mistake_in
from dispatcher.runs.verifier import Verifier
from dispatcher.trying.dry import DryChain
from hookchain.testing.upstream import Answers, leaving, rehearsed
from midjourney.client import Client
from midjourney.dialects import Dialect, Upstream
from midjourney.links import near_of
from midjourney.types import Status
from storage.budgets.billing import Plan
from storage.deliveries import chain_stores
from storage.engine import Connection, Database
from storage.reading import pages
from storage.records import Delivery, Submission
from storage.submissions.departures import Departures
from storage.submissions.lanes import HELD_MS
from storage.timetable import timetable
from storage.upstreams import standings

MOST = 100_000
"""More rows than a test makes."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What a server is configured with."""

    upstreams: Mapping[str, Upstream]
    dialects: Mapping[str, Dialect]
    budget: Budget
    plan: Plan | None = None
    zone: str = "UTC"


class State(msgspec.Struct, frozen=True):
    """All submissions and deliveries, oldest first, by id."""

    submissions: Mapping[str, Submission]
    deliveries: Mapping[int, Delivery]
    closed_until_ms: tuple[int, ...] = ()
    """When an upstream is open again that is closed now."""
    stores: Mapping[str, str] = {}
    """What plugins keep, by chain, as JSON."""
    struck_ms: tuple[int, ...] = ()
    """When a rule runs by the clock."""

    def next_ms(self, now_ms: int) -> int | None:
        """The next moment at which something may become due; None if nothing waits."""
        waiting = [one for one in self.submissions.values() if one.state == "waiting"]
        moments = [one.run_at_ms for one in waiting]
        moments += [one.run_at_ms for one in self.deliveries.values() if one.state == "waiting"]
        lanes = {one.lane for one in waiting if one.lane}
        moments += [one.updated_at_ms + HELD_MS + 1 for one in self.submissions.values() if one.lane in lanes]
        moments += self.closed_until_ms if waiting else ()
        moments += self.struck_ms
        return min((moment for moment in moments if moment > now_ms), default=None)


class _Alone:
    """The only worker: see `dispatcher.loops.protocols.Worker`."""

    name = "test"
    is_alone = True

    def may_send(self) -> bool:
        return True


async def _link(approval_id: str) -> str:
    """Where an approval would be decided."""
    return f"https://hookchain.example.com/approve/{approval_id}/signature"


class Server:
    """A server over a database. All of its methods must be called in one event loop."""

    def __init__(self, url: str, registry: Registry, clock: Callable[[], int]) -> None:
        self.answers = Answers()
        self._database = Database(url)
        self._registry = registry
        self._clock = clock
        self._setup: Setup | None = None
        self._clients: dict[str, Client] = {}
        self._submitter = Submitter(
            self._database,
            self._clients,
            hook_for=leaving,
            clock=clock,
            departures=Departures(None, "test", clock),
            worker="test",
        )
        self._deliverer: Deliverer | None = None
        self._asker: Asker | None = None
        self._striker: Striker | None = None
        self._database.wakeups.subscribe("events", lambda: self._wake(self._deliverer))
        self._database.wakeups.subscribe("submissions", self._submitter.loop.wake)

    async def open(self) -> None:
        """Open the database."""
        await self._database.open()

    async def close(self) -> None:
        """Stop everything, without waiting for answers."""
        for answer in list(self.answers.open.values()):
            answer.cancel()
        await asyncio.gather(*self._submitter.loop.running, return_exceptions=True)
        if self._deliverer is not None:
            await self._deliverer.stop()
        await self._database.close()

    async def configure(self, setup: Setup) -> None:
        """Go by these settings from now on. What has left stays so."""
        if setup == self._setup:
            return
        self._setup = setup
        upstreams = {name: rehearsed(upstream) for name, upstream in setup.upstreams.items()}
        self._clients.clear()
        handles: dict[str, UpstreamHandle] = {}
        for name, upstream in upstreams.items():
            dialect = setup.dialects[upstream.dialect]
            self._clients[name] = Client(upstream, dialect, transport=self.answers)
            handles[name] = UpstreamHandle(
                name=name, dialect=dialect, near=near_of(upstream), zone=setup.zone, mistake_in=mistake_in
            )
        self._database.trust(upstreams)
        self._database.charge_by(setup.plan)
        await self.write("upstreams", lambda connection: standings.add(connection, upstreams))
        if self._deliverer is not None:
            await self._deliverer.stop()
        self._deliverer = Deliverer(
            self._database,
            self._registry,
            self._submitter,
            Verifier({}, upstreams),
            handles,
            setup.budget,
            self._clock,
            _Alone(),
            chain_type=DryChain,
            at_once=1,  # in order, so that a test decides the same each time
        )
        prices = {name: upstream.prices for name, upstream in upstreams.items()}
        Asking(self._database, self._registry, _link, prices).connect()
        self._submitter.vetoes = Vetoes(self._deliverer.runner)
        self._asker = Asker(
            self._database,
            self._registry,
            handles,
            asking_plugins(evaluate_here),
            self._clock,
            lambda: True,
        )
        self._striker = Striker(self._database, self._registry, handles, self._clock)

    @property
    def database(self) -> Database:
        """The database."""
        return self._database

    def dialect(self, upstream: str) -> Dialect:
        """The dialect of an upstream."""
        return self._clients[upstream].dialect

    def statuses(self, upstream: str) -> Mapping[str, Status]:
        """The statuses of an upstream's dialect."""
        return self.dialect(upstream).statuses

    async def cut_off(self, submission_id: str) -> None:
        """End the request of a submission without an answer; its attempt stays as it is."""
        answer = self.answers.open.get(submission_id)
        if answer is not None:
            answer.cancel()
            await self.settle()

    async def write(self, name: str, work: Callable[[Connection], object]) -> None:
        """Run a transaction."""
        await self._database.write(name, work)

    async def settle(self) -> None:
        """Do all that is due, until only requests without an answer are left. Raises what went wrong in the server itself."""
        deliverer = self._deliverer
        assert deliverer is not None, "configure() comes first"
        assert self._asker is not None
        assert self._striker is not None
        loops = (self._striker.loop, self._asker.loop, deliverer.loop, self._submitter.loop)
        for loop in loops:
            loop.wake()
        while True:
            await asyncio.sleep(0)  # what became due at once wakes its loop in the next step
            woken = [loop for loop in loops if loop.is_woken]
            for loop in woken:
                await loop.take_turn()
            running = deliverer.loop.running | self._submitter.loop.running
            if not woken and len(running) == len(self.answers.open):
                return
            if not woken:
                await self._next_step(running)

    async def _next_step(self, running: frozenset[asyncio.Task[Any]]) -> None:
        self.answers.arrived.clear()
        arrival = asyncio.create_task(self.answers.arrived.wait())
        done, _ = await asyncio.wait([*running, arrival], return_when=asyncio.FIRST_COMPLETED)
        arrival.cancel()
        for task in done - {arrival}:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def state(self) -> State:
        """What is stored now."""
        now_ms, upstreams = self._clock(), [client.upstream for client in self._clients.values()]

        def read(connection: Connection) -> State:
            submissions = pages.submission_page(connection, most=MOST)
            deliveries = pages.delivery_page(connection, most=MOST)
            known = standings.every(connection)
            closed = [
                upstream_limits.closed_until_ms(upstream, known[upstream.name], now_ms)
                for upstream in upstreams
            ]
            return State(
                {one.id: one for one in reversed(submissions)},
                {one.id: one for one in reversed(deliveries)},
                tuple(closed),
                chain_stores.contents(connection),
                tuple(one.next_ms for one in timetable.rows(connection).values() if one.every),
            )

        return await self._database.read(read)

    @staticmethod
    def _wake(deliverer: Deliverer | None) -> None:
        if deliverer is not None:
            loop: Loop = deliverer.loop
            loop.wake()
