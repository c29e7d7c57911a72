"""The loops of one worker, put together: deliveries, submissions, evidence, chores."""

from __future__ import annotations

import asyncio
import time

import structlog

from dispatcher.deliver import Deliverer
from dispatcher.membership import Membership
from dispatcher.prune import Pruner
from dispatcher.receivers import Registry
from dispatcher.reconcile import Reconciler
from dispatcher.settle import Settler
from dispatcher.submit import Submitter
from dispatcher.supervisor import Loop
from dispatcher.verify import Verifier
from hookchain.asking import clients_of, places_of
from hookchain.settings import Settings
from hooks.auth import notify_token
from storage import settings as stored
from storage import upstreams as stored_upstreams
from storage.engine import Database

log = structlog.get_logger("hookchain")

STANDBY_S = 0.5
"""Between two looks whether the process that works on a file has ended."""


def now_ms() -> int:
    """The time, as epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Hooks:
    """The notifyHook of each submission. A worker without HTTP asks the database where the one with it listens."""

    def __init__(self, settings: Settings, database: Database, secret: str) -> None:
        self._settings = settings
        self._database = database
        self._tokens = {name: notify_token(secret, name) for name in settings.upstreams}

    async def of(self, upstream: str, submission_id: str) -> str:
        """The address that the upstream calls about this submission; "" where none is sent."""
        if self._settings.poll_only:
            return ""
        return f"{await self._base()}/notify/{self._tokens[upstream]}/{submission_id}"

    async def _base(self) -> str:
        if self._settings.known_url or self._settings.listens:
            return self._settings.hook_base
        return await self._database.read(stored.address) or self._settings.hook_base


class Worker:
    """The loops: deliveries, submissions, evidence. Some are turned by one worker for all: the one that leads."""

    def __init__(self, settings: Settings, database: Database, registry: Registry, secret: str) -> None:
        self._database = database
        self._upstreams = tuple(settings.upstreams)
        self._clients = clients_of(settings, database)
        self._hooks = Hooks(settings, database, secret)
        self._membership = Membership(database, now_ms)
        self._submitter = submitter = Submitter(
            database,
            self._clients,
            hook_for=self._hooks.of,
            clock=now_ms,
            worker=self._membership.name,
            believed_until_s=self._membership.believed_until_s,
        )
        deliverer = Deliverer(
            database,
            registry,
            submitter,
            Verifier(self._clients),
            places_of(settings, self._clients),
            settings.budget,
            now_ms,
            self._membership,
        )
        self._membership.in_hand = lambda: (deliverer.in_hand.keys(), submitter.in_hand.keys())
        settler = Settler(database, self._clients, now_ms)
        reconciler = Reconciler(database, self._clients, now_ms, poll_only=settings.poll_only)
        pruner = Pruner(database, settings.retention, now_ms)
        chores = (settler.loop, reconciler.loop, pruner.loop)
        for loop in chores:
            loop.may_turn = self._membership.leads
        self._loops = (deliverer.loop, submitter.loop, *chores)
        self._standby = Loop("standby", self._begin_in_turn, interval_s=STANDBY_S)
        database.wakeups.subscribe("events", deliverer.loop.wake)
        database.wakeups.subscribe("submissions", submitter.loop.wake)

    async def start(self) -> None:
        """Begin; on a file that another process works on, as soon as that one has ended."""
        if self._is_our_turn():
            await self._begin()
        else:
            log.warning("another process works on this database: this one works as soon as that has ended")
            self._standby.start()

    async def stop(self) -> None:
        """Stop claiming, let running work finish, close the connections."""
        await self._standby.stop()
        await asyncio.gather(*(loop.stop() for loop in self._loops))
        await self._membership.leave()
        for client in self._clients.values():
            await client.aclose()
        if self._database.worker_lock is not None:
            self._database.worker_lock.release()

    def is_well(self) -> bool:
        """True while all loops run, or wait for their turn."""
        if self._standby.is_running:
            return True
        return all(loop.is_running for loop in (*self._loops, self._membership.loop))

    def _is_our_turn(self) -> bool:
        lock = self._database.worker_lock
        return lock is None or lock.acquire()

    async def _begin_in_turn(self) -> None:
        if self._is_our_turn():
            log.info("the other process has ended: this one works now")
            await self._begin()
            self._standby.is_stopping = True

    async def _begin(self) -> None:
        await self._database.write(
            "upstreams", lambda connection: stored_upstreams.add(connection, self._upstreams)
        )
        await self._membership.join()
        for loop in self._loops:
            loop.start()
