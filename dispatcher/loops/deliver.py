"""Loop: events → one delivery per receiver → its run → its end and its submissions, committed together.

The transaction that fans events out also claims their deliveries; if both come at the same moment, it is the one that wrote the
events. Runs that end at the same moment are ended in one transaction, which also claims for sending what their receivers requested.
So a callback costs two commits before its follow-up leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import msgspec
import structlog

from dispatcher.loops.loop import STOP_WITHIN_S, Loop, until_durable
from dispatcher.loops.protocols import Sender, Worker
from dispatcher.plugins.chain import Chain, UpstreamHandle
from dispatcher.plugins.receivers import Registry
from dispatcher.plugins.running import END_WITHIN_S, Runner
from dispatcher.policy import run_endings
from dispatcher.policy.chain_budget import Budget, refusal
from dispatcher.runs.active_runs import REST_S, RUNNING_AT_ONCE, ActiveRuns
from dispatcher.runs.call import Call
from dispatcher.runs.preflight import Preflight
from dispatcher.runs.store_turns import StoreTurns
from dispatcher.runs.verifier import Verifier
from dispatcher.runs.verify import Verify
from storage.clock import Clock
from storage.deliveries import delivery_queue
from storage.deliveries.delivery_queue import Listen
from storage.deliveries.endings import Ended, Result, Run, end_all
from storage.engine import Connection, Database, Step
from storage.errors import LeaseLost
from storage.joins import looking
from storage.records import JOINS, ClaimedDelivery, PendingEvent

log = structlog.get_logger("hookchain")

EVENTS_A_TURN = 200
"""The most events that are fanned out in one transaction."""


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a run as committed, and whether another delivery waits for it. `is_again`: it was not kept, because another run changed
    `chain.store` at the same moment; the delivery waits to be run again."""

    ending: Ended
    next_waits: bool
    is_again: bool


class Deliverer:
    """Runs receivers, each delivery separately: one that fails or hangs does not delay the others. `listen` adds receivers to those
    that are connected; `chain_type` is what receivers act on; `at_once` of them run at the same time."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        submitter: Sender,
        verifier: Verifier,
        handles: Mapping[str, UpstreamHandle],
        budget: Budget,
        clock: Clock,
        membership: Worker,
        listen: Listen | None = None,
        chain_type: type[Chain] = Chain,
        at_once: int = RUNNING_AT_ONCE,
    ) -> None:
        self._database = database
        self._listen = listen
        self._registry = registry
        self._submitter = submitter
        self._refuse = partial(refusal, budget=budget)
        self._clock = clock
        self._membership = membership
        self.loop = Loop("deliver", self._turn)
        self.runner = Runner(on_end=self.loop.wake)
        self.active_runs = ActiveRuns(registry, self.runner.abandoned, at_once)
        self._store_turns = StoreTurns()
        self._preflight = Preflight(
            database, registry, handles, clock, lambda: membership.is_alone, self._store_turns
        )
        self._verify = Verify(verifier, self.active_runs, clock)
        self._finish = Step("finish_delivery", self._end_all)
        self._moved_chains: set[str] = set()
        """Chains of which a delivery has ended since the last turn. If they are forgotten, the marks are looked at a little later."""
        self._call = Call(self.runner, handles, clock, database.timings.runs, chain_type)

    def _route(self, event: PendingEvent) -> tuple[str, ...]:
        return self._registry.receiver_names(event.signal, event.action)

    async def _turn(self) -> None:
        if not self._membership.may_send():
            return  # other workers would take over what this one claims now
        free, room, floor = self.active_runs.free, self.active_runs.room(), self.active_runs.floor()
        now_ms = self._clock()
        joins = self._registry.connected_signals() & JOINS
        moved, self._moved_chains = self._moved_chains, set()
        fanned, joined, claimed = await self._database.write_together(
            (
                "fan_out",
                lambda connection: delivery_queue.fan_out(
                    connection, self._route, EVENTS_A_TURN, now_ms, listen=self._listen, joins=joins
                ),
            ),
            (
                "join",
                lambda connection: looking.look(
                    connection, joins, self._registry.may_request, now_ms, at_once=moved
                ),
            ),
            (
                "claim_delivery",
                lambda connection: delivery_queue.claim(
                    connection, free, now_ms, room=room, worker=self._membership.name, floor=floor
                ),
            ),
        )
        if joined is None:
            self._moved_chains |= moved
        for delivery in claimed:
            self.active_runs.begin(delivery)
            self.loop.spawn(self._store_turns.deliver(delivery, self._deliver))
        if joined or fanned == EVENTS_A_TURN or (free and len(claimed) == free):
            self.loop.wake()

    async def stop(self) -> None:
        """Claim nothing more, give running receivers some time to end, and end the plugins' loops."""
        await self.loop.stop(STOP_WITHIN_S - END_WITHIN_S)
        await self.runner.close()

    async def _deliver(self, claimed: ClaimedDelivery) -> None:
        try:
            await self._commit(claimed, await self._run(claimed))
        finally:
            if self.active_runs.end(claimed):
                self.loop.wake()
            if claimed.delivery.suspected:
                self.loop.wake_after(REST_S)

    async def _run(self, claimed: ClaimedDelivery) -> Ended:
        """Run the receiver, unless an earlier stage ends the run."""
        try:
            ready = await self._preflight.check(claimed)
            if isinstance(ready, Ended):
                return ready
            verified = await self._verify.check(ready)
            if isinstance(verified, Ended):
                return verified
            return await self._call.run(verified)
        finally:
            if self.active_runs.ran(claimed):
                self.loop.wake()

    async def _commit(self, claimed: ClaimedDelivery, ending: Ended) -> None:
        """Commit the end of a run, and start what it made possible."""
        try:
            committed = await self._keep(claimed, ending)
        except LeaseLost as error:
            log.warning("another worker has finished the delivery", why=str(error))
            return
        ending = committed.ending
        if committed.next_waits:
            self.loop.wake()
        if committed.is_again:
            log.info("delivery runs again", delivery=claimed.delivery.id, receiver=claimed.delivery.receiver)
            return
        if claimed.chain is not None and self._registry.connected_signals() & JOINS:
            self._moved_chains.add(claimed.chain.id)
            self.loop.wake()
        if ending.state == "waiting":
            self.loop.wake_after((ending.run_at_ms - self._clock()) / 1000)
        log.info(
            "delivery",
            delivery=claimed.delivery.id,
            receiver=claimed.delivery.receiver,
            signal=claimed.event.signal,
            upstream=claimed.event.upstream,
            task=claimed.event.task_id,
            state=ending.state,
            decision=ending.decision,
        )

    async def _keep(self, claimed: ClaimedDelivery, ending: Ended) -> Committed:
        """Commit the end of a run. If the database refuses it, commit that it cannot be stored. Raises `LeaseLost`."""
        try:
            return await self._write(claimed, ending)
        except LeaseLost:
            raise
        except Exception as error:  # the same run would end the same way, so it must not stay "running"
            return await self._write(claimed, run_endings.unkept(ending, error))

    async def _write(self, claimed: ClaimedDelivery, ending: Ended) -> Committed:
        if ending.store is not None:
            self._store_turns.note(claimed.delivery.receiver)
        run = Run(claimed, ending, self._registry.connected_signals())
        closing = self._submitter.claim if ending.staged else None
        result = await until_durable(lambda: self._database.step(self._finish, run, closing))
        return Committed(ending=ending, next_waits=result is not False, is_again=result == "again")

    def _end_all(self, connection: Connection, runs: Sequence[Run]) -> Sequence[Result]:
        # The clock is read in the transaction, because it may be set while this waits: a press is due some time after it is staged.
        return end_all(connection, runs, refuse=self._refuse, now_ms=self._clock())
