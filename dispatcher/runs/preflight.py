"""Checks before a run that this process has what the delivery needs, and that its receiver may still fire."""

from __future__ import annotations

import random
from collections.abc import Callable, Container
from functools import partial

import msgspec

from dispatcher.plugins.receivers import Receiver, Registry
from dispatcher.policy import run_endings
from dispatcher.runs.store_turns import StoreTurns
from storage.deliveries import chain_stores, firings, suspects
from storage.deliveries.endings import Ended, subject_of
from storage.deliveries.firings import Limit
from storage.engine import Connection, Transactions
from storage.reading import roots
from storage.records import ChainRoot, ClaimedDelivery, Delivery, StoredValues, is_for_one
from storage.tasks import hanging


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that may run, with its receiver."""

    receiver: Receiver
    claimed: ClaimedDelivery


class Preflight:
    """The first stage of a run. `is_alone` returns True if no other process works on this database."""

    def __init__(
        self,
        database: Transactions,
        registry: Registry,
        upstreams: Container[str],
        clock: Callable[[], int],
        is_alone: Callable[[], bool],
        store_turns: StoreTurns,
    ) -> None:
        self._database = database
        self._registry = registry
        self._upstreams = upstreams
        self._clock = clock
        self._is_alone = is_alone
        self._store_turns = store_turns

    async def check(self, claimed: ClaimedDelivery) -> Ready | Ended:
        """Find the receiver of a delivery. Returns how the delivery ends if it must not run."""
        delivery, upstream = claimed.delivery, claimed.event.upstream
        receiver = self._registry.get(delivery.receiver)
        if receiver is None:
            return self._missing(
                delivery, f"receiver {delivery.receiver!r} is not loaded: its plugin or rule is gone"
            )
        if upstream not in self._upstreams:
            return self._missing(delivery, f"upstream {upstream!r} is no longer configured")
        if delivery.deaths >= suspects.MOST_DEATHS:
            return run_endings.killed(delivery)
        if claimed.has_acted:
            return run_endings.acted_before()
        if (
            claimed.event.signal == hanging.SIGNAL
            and claimed.task is not None
            and claimed.task.finished_at_ms
        ):
            return Ended(state="done", decision="did not run: the task has ended in the meantime")
        if is_for_one(claimed.event) and not receiver.options.requests:
            # A person who sends one message again wants it, whatever the rule's limit. What may submit keeps to its limit.
            options = msgspec.structs.replace(receiver.options, limit=None)
            receiver = msgspec.structs.replace(receiver, options=options)
        if reason := await self._limit_reached(claimed, receiver.options.limit):
            return Ended(state="done", decision=reason)
        if receiver.options.root:
            root = await self._database.read(partial(_root, claimed))
            claimed = msgspec.structs.replace(claimed, root=root)
        if claimed.chain is not None and not receiver.options.harmless:
            claimed = await self._with_store(claimed, claimed.chain.id)
        self._measure_wait(claimed)
        return Ready(receiver=receiver, claimed=claimed)

    async def _with_store(self, claimed: ClaimedDelivery, chain_id: str) -> ClaimedDelivery:
        """With what plugins keep for the chain. It is not read if nothing was kept by the time of the claim, unless the receiver waited for
        others that keep something."""
        store = chain_stores.EMPTY
        if claimed.store_version or self._store_turns.takes_turns(claimed.delivery.receiver):
            store = await self._database.read(partial(_store, chain_id))
        return msgspec.structs.replace(claimed, store=store)

    def _missing(self, delivery: Delivery, problem: str) -> Ended:
        return run_endings.not_here(
            delivery, problem, self._clock(), random.random(), is_alone=self._is_alone()
        )

    async def _limit_reached(self, claimed: ClaimedDelivery, limit: Limit | None) -> str:
        return "" if limit is None else await self._database.read(partial(_limit_reached, claimed, limit))

    def _measure_wait(self, claimed: ClaimedDelivery) -> None:
        """Count the run and its waiting time. A first run waits from the event on, which includes the fan-out."""
        delivery, now_ms = claimed.delivery, self._clock()
        is_first = delivery.run_at_ms == delivery.created_at_ms
        due_ms = claimed.event.received_at_ms if is_first else delivery.run_at_ms
        self._database.meter.count("deliveries", now_ms, 1000 * (now_ms - due_ms))


def _root(claimed: ClaimedDelivery, connection: Connection) -> ChainRoot | None:
    return roots.of_event(connection, claimed)


def _store(chain_id: str, connection: Connection) -> StoredValues:
    return chain_stores.find(connection, chain_id)


def _limit_reached(claimed: ClaimedDelivery, limit: Limit, connection: Connection) -> str:
    return firings.reached(connection, claimed.delivery.receiver, limit, subject_of(claimed))
