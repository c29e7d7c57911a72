"""The composition root: settings → parts that are started and stopped. Read it from top to bottom."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import structlog
from starlette.types import ASGIApp

from dispatcher.chain import Place
from dispatcher.deliver import Deliverer
from dispatcher.discovery import Plugin, load_plugins
from dispatcher.errors import RuleError
from dispatcher.limits import Gate
from dispatcher.prune import Pruner
from dispatcher.receivers import Registry
from dispatcher.reconcile import Reconciler
from dispatcher.rules.compile import CompiledRule, asked_keys
from dispatcher.rules.reload import LiveRules
from dispatcher.settle import Settler
from dispatcher.signals import SIGNALS
from dispatcher.submit import Submitter
from dispatcher.verify import Verifier
from hookchain.settings import Settings, SettingsError, read_rules
from hooks.api import Api
from hooks.app import create_app
from hooks.auth import NotifyTokens, notify_token
from hooks.health import Health
from hooks.ingest import Ingest
from hooks.metrics import Metrics
from hooks.shapes import when
from midjourney.client import Client
from midjourney.dialects import Dialect
from storage import deliveries, submissions
from storage import settings as stored
from storage.engine import Database
from storage.migrate import migrate

log = structlog.get_logger("hookchain")


class Receivers(msgspec.Struct, frozen=True, kw_only=True):
    """What listens: the plugins that were loaded, the rules, and every receiver by its name."""

    plugins: list[Plugin]
    rules: LiveRules
    registry: Registry


def connect_receivers(settings: Settings) -> Receivers:
    """Load plugins and connect rules. Raises `PluginError`."""
    plugins = load_plugins(settings.plugins, settings.directory)
    rules = LiveRules(settings.rules, settings.file, partial(_read_rules, settings))
    registry = Registry(SIGNALS)
    rules.watch(registry)
    return Receivers(plugins=plugins, rules=rules, registry=registry)


def _read_rules(settings: Settings) -> Sequence[CompiledRule]:
    """The rules that stand in the configuration file now. Raises `RuleError`."""
    try:
        return read_rules(settings.file, settings.upstreams)
    except SettingsError as error:
        raise RuleError(str(error)) from error


def now_ms() -> int:
    """The time, as epoch milliseconds."""
    return time.time_ns() // 1_000_000


def hook_url(settings: Settings, secret: str, upstream: str) -> str:
    """The notifyHook to register at an upstream."""
    return f"{settings.hook_base}/notify/{notify_token(secret, upstream)}"


async def open_database(settings: Settings) -> Database:
    """Bring the schema up to date and open the database. Raises storage errors."""
    await asyncio.to_thread(migrate, settings.database_url)
    database = Database(settings.database_url)
    await database.open()
    return database


async def secret_of(settings: Settings, database: Database) -> str:
    """The secret that hook addresses derive from: the configured one, else the one kept in the database."""
    return settings.secret or await database.write("secret", stored.secret)


async def _may_ask(gate: Gate) -> None:
    """Wait until the upstream's rate allows a question."""
    await asyncio.sleep(gate.ask(now_ms()) / 1000)


class Worker:
    """The loops: deliveries, submissions, evidence."""

    def __init__(self, settings: Settings, database: Database, registry: Registry, secret: str) -> None:
        self._database = database
        self._gates = gates = {
            name: Gate(upstream, now_ms()) for name, upstream in settings.upstreams.items()
        }
        self._clients = {
            name: Client(upstream, settings.dialects[upstream.dialect], pace=partial(_may_ask, gates[name]))
            for name, upstream in settings.upstreams.items()
        }
        bases = {name: hook_url(settings, secret, name) for name in settings.upstreams}
        submitter = Submitter(
            database,
            self._clients,
            gates,
            hook_for=lambda upstream, submission_id: (
                "" if settings.poll_only else f"{bases[upstream]}/{submission_id}"
            ),
            clock=now_ms,
        )
        deliverer = Deliverer(
            database,
            registry,
            submitter,
            Verifier(self._clients),
            {
                name: msgspec.structs.replace(place, refresh=self._clients[name].refresh)
                for name, place in places_of(settings).items()
            },
            settings.budget,
            now_ms,
        )
        settler = Settler(database, self._clients, now_ms)
        reconciler = Reconciler(database, self._clients, now_ms, poll_only=settings.poll_only)
        pruner = Pruner(database, settings.retention, now_ms)
        self._loops = (deliverer.loop, submitter.loop, settler.loop, reconciler.loop, pruner.loop)
        database.wakeups.subscribe("events", deliverer.loop.wake)
        database.wakeups.subscribe("submissions", submitter.loop.wake)

    async def start(self) -> None:
        """Take up what a process that is gone left behind, then begin. Raises `AlreadyWorked`."""
        self._database.worker_lock.acquire()
        await self._recover()
        for loop in self._loops:
            loop.start()

    async def stop(self) -> None:
        """Stop claiming, let running work finish, close the connections."""
        await asyncio.gather(*(loop.stop() for loop in self._loops))
        for client in self._clients.values():
            await client.aclose()
        self._database.worker_lock.release()

    def breakers(self) -> dict[str, str]:
        """Each upstream's, "open" or "closed"."""
        return {name: gate.breaker for name, gate in self._gates.items()}

    def is_turning(self) -> bool:
        """True while all loops run."""
        return all(loop.is_running for loop in self._loops)

    async def _recover(self) -> None:
        """SQLite has one worker, so what is marked as running was running in a process that is gone."""
        started_ms = now_ms()
        released, doubtful = await self._database.write_together(
            ("release", deliveries.release_all),
            ("release", lambda connection: submissions.doubt_all(connection, started_ms)),
        )
        if released or doubtful:
            log.info("recovered", deliveries_given_back=released, submissions_uncertain=doubtful)


@asynccontextmanager
async def running(
    settings: Settings, receivers: Receivers, *, with_worker: bool = True
) -> AsyncIterator[tuple[ASGIApp, Database]]:
    """A server's parts, started: the application, and the database under it. Stops them at the end."""
    database = await open_database(settings)
    registry, rules = receivers.registry, receivers.rules
    try:
        secret = await secret_of(settings, database)
        database.hear_only(registry.heard())
        rules.on_change = lambda: database.hear_only(registry.heard())
        rules.loop.start()
        worker = Worker(settings, database, registry, secret) if with_worker else None
        if worker is not None:
            await worker.start()
        gc.freeze()  # what start-up made stays: collecting it again and again is what makes p99
        try:
            yield _application(settings, database, secret, worker, receivers), database
        finally:
            await rules.loop.stop()
            if worker is not None:
                await worker.stop()
    finally:
        await database.close()


def _application(
    settings: Settings, database: Database, secret: str, worker: Worker | None, receivers: Receivers
) -> ASGIApp:
    hook = Ingest(
        database, NotifyTokens(secret, settings.upstreams), body_limit_bytes=settings.body_limit_bytes
    )
    health = Health(database, worker.is_turning if worker is not None else None)
    api = Api(
        database,
        settings.upstreams,
        _dialects(settings),
        admin_token=settings.admin_token,
        breakers=worker.breakers if worker is not None else None,
        loaded=partial(_loaded, receivers),
    )
    metrics = Metrics(database, admin_token=settings.admin_token)
    return create_app(hook, [*health.routes(), *metrics.routes(), *api.routes()])


def _loaded(receivers: Receivers) -> dict[str, Any]:
    """The rules and plugins that run, as the API shows them."""
    status, registry = receivers.rules.status, receivers.registry
    rules = [
        {"name": one.rule.name, "where": one.where, "on": one.rule.on, "if": one.rule.when}
        | {"does": asked_keys(one.rule)}
        for one in receivers.rules.rules
    ]
    return {
        "rules": {
            "file": status.file,
            "error": status.error,
            "loaded_at": when(status.loaded_at_ms),
            "rules": rules,
        },
        "plugins": {"plugins": [{"name": one.name, "origin": one.origin} for one in receivers.plugins]},
        "receivers": {name: registry.signals_of(name) for name in registry.names()},
    }


def places_of(settings: Settings) -> dict[str, Place]:
    """Every upstream as chains see it."""
    dialects = _dialects(settings)
    return {
        name: Place(name=name, dialect=dialects[name], url=upstream.url)
        for name, upstream in settings.upstreams.items()
    }


def _dialects(settings: Settings) -> dict[str, Dialect]:
    return {name: settings.dialects[upstream.dialect] for name, upstream in settings.upstreams.items()}
