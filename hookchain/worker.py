"""A worker: creates and connects the loops for deliveries, submissions, evidence and maintenance."""

from __future__ import annotations

import asyncio
import math
from functools import partial

import structlog

from dispatcher.approvals.asking import Asking
from dispatcher.approvals.expiring import Expiring
from dispatcher.loops.ask_again import Asker
from dispatcher.loops.deliver import Deliverer
from dispatcher.loops.hanging import Hanging
from dispatcher.loops.heartbeat import Membership
from dispatcher.loops.history import Historian
from dispatcher.loops.loop import Loop
from dispatcher.loops.pack import Packer
from dispatcher.loops.places import Places
from dispatcher.loops.poll import Poller
from dispatcher.loops.prune import Pruner
from dispatcher.loops.resolve import Resolver
from dispatcher.loops.restores import Restores
from dispatcher.loops.strike import Striker
from dispatcher.loops.submit import Submitter
from dispatcher.loops.sweep import Sweeper
from dispatcher.loops.timekeeper import Timekeeper
from dispatcher.loops.watch import Watch
from dispatcher.plugins.receivers import Registry
from dispatcher.plugins.vetoes import Vetoes
from dispatcher.policy.retention import Retention
from dispatcher.rules.confined import evaluate_confined
from dispatcher.rules.later import asking_plugins
from dispatcher.runs.readback import Readback
from dispatcher.runs.verifier import Verifier
from hookchain.listening import listening, moving_of, overdue, wants_of
from hookchain.settings.load import Settings
from hookchain.upstreams import clients_of, places_of
from hooks.approval_tokens import approval_path
from hooks.gateway.clients import Clients
from hooks.hook_tokens import is_made_for, is_own_hook, registered_token, submission_token
from storage import clock
from storage import settings as stored
from storage.blobs.store import BlobStore
from storage.clock import uptime_s
from storage.engine import Database
from storage.upstreams import hook_salts
from storage.upstreams import standings as stored_upstreams

log = structlog.get_logger("hookchain")

STANDBY_S = 0.5
"""Interval at which a second process on a SQLite file checks whether the first one has ended."""

ADDRESS_FOR_S = 1.0
"""For how long a worker relies on the address of the server that it read from the database: it reads it for many submissions at once."""


class SubmissionHooks:
    """Makes the notifyHook URL of each submission, and the link of each approval. A worker without HTTP reads the server's address from the database."""

    def __init__(self, settings: Settings, database: Database, secret: str) -> None:
        self._settings = settings
        self._database = database
        self._secret = secret
        self._address = ""
        self._address_until_s = -math.inf

    async def approval_url(self, approval_id: str) -> str:
        """The signed link at which an approval is decided."""
        return f"{await self._base()}{approval_path(self._secret, approval_id)}"

    async def url_for(self, upstream: str, submission_id: str) -> str:
        """The URL that the upstream calls about this submission; "" if hookchain only polls."""
        if self._settings.poll_only:
            return ""
        token = submission_token(self._secret, upstream, submission_id)
        return f"{await self._base()}/notify/{token}/{submission_id}"

    async def _base(self) -> str:
        if self._settings.known_url or self._settings.listens:
            return self._settings.hook_base
        if uptime_s() >= self._address_until_s:
            address = await self._database.read(stored.address)
            self._address = address or ""
            self._address_until_s = uptime_s() + ADDRESS_FOR_S if self._address else -math.inf
        return self._address or self._settings.hook_base


async def registered_tokens(database: Database, secret: str, upstream: str) -> frozenset[str]:
    """The tokens of the hook that is registered at an upstream: all that are valid, after rotations."""
    salts = await database.read(partial(hook_salts.find, upstreams=[upstream]))
    return frozenset(registered_token(secret, upstream, salt) for salt in salts[upstream].valid)


class Worker:
    """The loops for deliveries, submissions and evidence. Maintenance loops run only in the worker that leads. `clients` are those of
    the gateway, None if it is off."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        registry: Registry,
        secret: str,
        clients: Clients | None = None,
    ) -> None:
        self._database = database
        self._upstreams = tuple(settings.upstreams)
        self._clients = clients_of(settings, database)
        self._hooks = SubmissionHooks(settings, database, secret)
        prices = {name: upstream.prices for name, upstream in settings.upstreams.items()}
        Asking(database, registry, self._hooks.approval_url, prices).connect()
        self._membership = Membership(database, clock.now_ms)
        self._restores = Restores(
            database, self._clients, partial(is_own_hook, secret), clock.now_ms, database.generation_file
        )
        moving = moving_of(settings, clients) if clients is not None else None
        self._submitter = submitter = Submitter(
            database,
            self._clients,
            hook_for=self._hooks.url_for,
            clock=clock.now_ms,
            departures=self._membership.departures,
            worker=self._membership.name,
            may_send_until_s=self._membership.may_send_until_s,
            generation_file=database.generation_file,
            may_submit=self._restores.may_submit,
            elsewhere=moving,
        )
        self._readbacks = {
            name: Readback(name, client, clock.now_ms) for name, client in self._clients.items()
        }
        trusted = frozenset(
            name for name, upstream in settings.upstreams.items() if upstream.verify == "trust"
        )
        database.trust(trusted)
        handles = places_of(settings, self._clients)
        deliverer = Deliverer(
            database,
            registry,
            submitter,
            Verifier(self._readbacks, trusted),
            handles,
            settings.budget,
            clock.now_ms,
            self._membership,
            listen=listening(settings, database, registry, handles, secret, clients)
            if clients is not None
            else None,
        )
        self._deliverer = deliverer
        submitter.vetoes = Vetoes(deliverer.runner)
        self._membership.in_hand = lambda: (deliverer.active_runs.ids, frozenset(submitter.in_hand))
        self._membership.longest_ms = deliverer.active_runs.longest_ms
        asker = Asker(
            database,
            registry,
            handles,
            asking_plugins(evaluate_confined),
            clock.now_ms,
            lambda: self._membership.is_alone,
            trusted,
            *([partial(wants_of, clients)] if clients is not None else []),
        )
        resolver = Resolver(database, self._clients, registry.connected_signals, clock.now_ms)
        self._historian = Historian(database, self._clients, self._readbacks, clock.now_ms)
        poller = Poller(
            database,
            self._clients,
            self._readbacks,
            registry.connected_signals,
            clock.now_ms,
            poll_only=settings.poll_only,
        )
        pruner = Pruner(database, settings.retention, clock.now_ms, BlobStore(database, clock.now_ms))
        packer = Packer(database, clock.now_ms)
        self._timekeeper = Timekeeper(database, self._membership.leads)
        places = Places(database, self._clients)
        watch = Watch(database, settings.upstreams)
        expiring = Expiring(database)
        chores = [
            resolver.loop,
            poller.loop,
            pruner.loop,
            packer.loop,
            places.loop,
            watch.loop,
            expiring.loop,
        ]
        if any(upstream.sweep_every_s for upstream in settings.upstreams.values()):
            sweeper = Sweeper(
                database,
                self._clients,
                self._readbacks,
                partial(registered_tokens, database, secret),
                partial(is_made_for, secret),
                registry.connected_signals,
                clock.now_ms,
                kept_s=_kept_s(settings.retention),
            )
            chores.append(sweeper.loop)
        if clients is not None and moving is not None:
            chores.append(overdue(settings, database, clients, moving))
        hanging = Hanging(database, settings.upstreams, registry.connected_signals, clock.now_ms)
        chores.append(hanging.loop)
        striker = Striker(database, registry, handles, clock.now_ms)
        chores.append(striker.loop)
        for loop in chores:
            loop.may_turn = self._membership.leads
        self._loops = (
            *(deliverer.loop, submitter.loop, asker.loop, *chores),
            *(self._historian.loop, self._restores.loop, self._timekeeper.loop),
        )
        self._standby = Loop("standby", self._take_over_if_free, interval_s=STANDBY_S)
        database.wakeups.subscribe("events", deliverer.loop.wake)
        database.wakeups.subscribe("submissions", submitter.loop.wake)
        database.wakeups.subscribe("asks", poller.loop.wake)
        database.wakeups.subscribe("signs", self._restores.loop.wake)

    async def start(self) -> None:
        """Start the loops. If another process already works on the SQLite file, wait in the background until it has ended."""
        if self._has_database_lock():
            await self._begin()
        else:
            log.warning("another process works on this database; this one takes over when that process ends")
            self._standby.start()

    async def stop(self) -> None:
        """Stop claiming work, let running work finish, and close the connections."""
        await self._standby.stop()
        await self._membership.stopping()
        await asyncio.gather(self._deliverer.stop(), *(loop.stop() for loop in self._loops[1:]))
        await self._membership.leave()
        await self._historian.stop()
        await self._restores.stop()
        for readback in self._readbacks.values():
            await readback.aclose()
        for client in self._clients.values():
            await client.aclose()
        if self._database.worker_lock is not None:
            self._database.worker_lock.release()

    def is_healthy(self) -> bool:
        """True while all loops run, or while the worker waits for another process to end."""
        if self._standby.is_running:
            return True
        return all(loop.is_running for loop in (*self._loops, self._membership.loop))

    def _has_database_lock(self) -> bool:
        """Acquire the lock of the SQLite file. True if this process holds it, or if the database needs none."""
        lock = self._database.worker_lock
        return lock is None or lock.acquire()

    async def _take_over_if_free(self) -> None:
        if self._has_database_lock():
            log.info("the other process has ended; this one now works on the database")
            await self._begin()
            self._standby.is_stopping = True

    async def _begin(self) -> None:
        await self._database.write(
            "upstreams", lambda connection: stored_upstreams.add(connection, self._upstreams)
        )
        await self._timekeeper.take_over()
        await self._membership.join()
        await asyncio.gather(self._restores.begin(), self._historian.begin())
        for loop in self._loops:
            loop.start()


def _kept_s(retention: Retention) -> float:
    """For how long a task is certainly remembered after its end: half of the time after which it is deleted."""
    return retention.chain_days * 86_400 / 2 or math.inf
