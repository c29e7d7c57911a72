"""The composition root: settings → parts that are started and stopped. Read it from top to bottom."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import structlog
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from dispatcher.discovery import Plugin, load_plugins
from dispatcher.errors import RuleError
from dispatcher.receivers import Registry
from dispatcher.rules.compile import CompiledRule, asked_keys
from dispatcher.rules.reload import LiveRules
from dispatcher.signals import SIGNALS
from dispatcher.tally import Tally
from hookchain.asking import asking, dialects_of
from hookchain.pages import desk_of
from hookchain.rules import read_rules, rules_of
from hookchain.settings import Settings, SettingsError
from hookchain.worker import Worker
from hooks.api.decisions import Loaded
from hooks.api.routes import Api
from hooks.api.shapes import when
from hooks.app import create_app
from hooks.auth import Admin, NotifyTokens, notify_token
from hooks.dashboard.routes import Dashboard
from hooks.health import Health
from hooks.images.proxy import Images
from hooks.ingest import Ingest
from hooks.metrics import Metrics
from hooks.session import Sessions
from hooks.stream import Stream
from storage import settings as stored
from storage.engine import Database
from storage.migrate import migrate

log = structlog.get_logger("hookchain")

PATIENCE_S = 30.0
"""How long a database server that is not there yet is waited for at the start."""


class Receivers(msgspec.Struct, frozen=True, kw_only=True):
    """What listens: the plugins that were loaded, the rules, and every receiver by its name."""

    plugins: list[Plugin]
    rules: LiveRules
    registry: Registry


def connect_receivers(settings: Settings) -> Receivers:
    """Load plugins and connect rules. Raises `PluginError` and `SettingsError`."""
    plugins = load_plugins(settings.plugins, settings.directory)
    rules = LiveRules(rules_of(settings), settings.file, partial(_read_rules, settings))
    registry = Registry(SIGNALS)
    rules.watch(registry)
    return Receivers(plugins=plugins, rules=rules, registry=registry)


def _read_rules(settings: Settings) -> Sequence[CompiledRule]:
    """The rules that stand in the configuration file now. Raises `RuleError`."""
    try:
        return read_rules(settings.file, settings.upstreams)
    except SettingsError as error:
        raise RuleError(str(error)) from error


def hook_url(settings: Settings, secret: str, upstream: str) -> str:
    """The notifyHook to register at an upstream."""
    return f"{settings.hook_base}/notify/{notify_token(secret, upstream)}"


async def open_database(settings: Settings) -> Database:
    """Bring the schema up to date and open the database. Raises storage errors."""
    await asyncio.to_thread(partial(migrate, settings.database_url, patience_s=PATIENCE_S))
    database = Database(settings.database_url)
    await database.open()
    return database


async def secret_of(settings: Settings, database: Database) -> str:
    """The secret that hook addresses derive from: the configured one, else the one kept in the database."""
    return settings.secret or await database.write("secret", stored.secret)


@asynccontextmanager
async def working(settings: Settings, receivers: Receivers) -> AsyncIterator[Worker]:
    """A worker without HTTP, started; it is stopped at the end."""
    async with _opened(settings, receivers) as (database, secret):
        worker = Worker(settings, database, receivers.registry, secret)
        await worker.start()
        try:
            yield worker
        finally:
            await worker.stop()


@asynccontextmanager
async def _opened(
    settings: Settings, receivers: Receivers, *, with_worker: bool = True
) -> AsyncIterator[tuple[Database, str]]:
    """The database, with rules that live, and the secret. Without a worker all signals count as heard: one that works
    elsewhere, of a newer release maybe, knows who listens."""
    database = await open_database(settings)
    registry, rules = receivers.registry, receivers.rules
    tally = Tally(database)
    try:
        secret = await secret_of(settings, database)
        if with_worker:
            database.hear_only(registry.heard())
            rules.on_change = lambda: database.hear_only(registry.heard())
        rules.loop.start()
        tally.loop.start()
        try:
            yield database, secret
        finally:
            await rules.loop.stop()
            await tally.stop()
    finally:
        await database.close()


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A server's parts, started. `hang_up` ends the streams of open pages: whoever stops serving waits for them."""

    application: ASGIApp
    database: Database
    secret: str
    hang_up: Callable[[], None]


@asynccontextmanager
async def running(
    settings: Settings, receivers: Receivers, *, with_worker: bool = True
) -> AsyncIterator[Running]:
    """Start a server's parts; they are stopped at the end."""
    async with (
        _opened(settings, receivers, with_worker=with_worker) as (database, secret),
        asking(settings, database) as places,
    ):
        await database.write(
            "address", lambda connection: stored.remember_address(connection, settings.hook_base)
        )
        worker = Worker(settings, database, receivers.registry, secret) if with_worker else None
        if worker is not None:
            await worker.start()
        images, stream = Images(database, places), Stream(database)
        loaded = partial(_loaded, receivers)
        desk = desk_of(settings, database, secret, places, loaded)
        admin = Admin(settings.admin_token)
        dashboard = Dashboard(desk, Sessions(secret, admin, settings.known_url), stream)
        pages = [*dashboard.routes(), *images.routes(dashboard.guard)]
        gc.freeze()  # what start-up made stays: collecting it again and again is what makes p99
        try:
            yield Running(
                application=_application(settings, database, secret, admin, worker, loaded, pages),
                database=database,
                secret=secret,
                hang_up=stream.stop,
            )
        finally:
            stream.stop()
            await images.aclose()
            if worker is not None:
                await worker.stop()


def _application(
    settings: Settings,
    database: Database,
    secret: str,
    admin: Admin,
    worker: Worker | None,
    loaded: Loaded,
    pages: Sequence[BaseRoute],
) -> ASGIApp:
    hook = Ingest(
        database, NotifyTokens(secret, settings.upstreams), body_limit_bytes=settings.body_limit_bytes
    )
    health = Health(database, worker.is_well if worker is not None else None)
    api = Api(
        database,
        settings.upstreams,
        dialects_of(settings),
        admin=admin,
        loaded=loaded,
    )
    metrics = Metrics(database, admin)
    return create_app(hook, [*health.routes(), *metrics.routes(), *api.routes(), *pages])


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
