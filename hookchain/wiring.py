"""The composition root: creates the parts of a process from the settings, starts and stops them. Read it from top to bottom."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import msgspec
import structlog
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from dispatcher.loops.count_traffic import LAST_WITHIN_S, TrafficCount
from dispatcher.loops.loop import Loop
from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.tickets.keeping import PictureStore
from dispatcher.tickets.listening import SIGNALS as SIGNALS_OF_TICKETS
from hookchain.background import counting_refusals, refreshing_clients, refreshing_logins, refreshing_tokens
from hookchain.dashboard import page_context
from hookchain.gateway import gateway_of, view_of
from hookchain.listening import clients_of_gateway
from hookchain.receivers import Receivers as Receivers
from hookchain.receivers import connect_receivers as connect_receivers
from hookchain.receivers import loaded
from hookchain.settings.load import Settings
from hookchain.upstreams import dialects_of, open_places
from hookchain.worker import Worker
from hooks.api.loaded import GetLoaded
from hooks.api.routes import Api
from hooks.app import create_app
from hooks.auth import Admin
from hooks.dashboard.approval_links import ApprovalLinks
from hooks.dashboard.routes import Dashboard
from hooks.gateway.clients import Clients
from hooks.gateway.gateway import Gateway
from hooks.gateway_view import GatewayView
from hooks.health import Health
from hooks.hook_tokens import NotifyTokens, registered_token
from hooks.http.connections import Connections
from hooks.images.proxy import Images
from hooks.ingest import Ingest
from hooks.logins import Logins
from hooks.metrics import Metrics
from hooks.quotas import Quotas
from hooks.session import Sessions
from hooks.stream import Stream
from storage import settings as stored
from storage.engine import Database
from storage.migrate import migrate

log = structlog.get_logger("hookchain")

DATABASE_WAIT_S = 30.0
"""How long start-up waits for a database server that does not answer yet."""


UNCOLLECTED = 5_000
"""New objects after which the garbage collector looks at them. Callbacks in flight hold some thousands, nearly all of which are freed
without it: Python's 700 made it look at them again and again, for a twelfth of a callback's time on the event loop."""

CLOCK_INTERVAL_S = 2.0
"""Interval at which a process reads the database's clock."""


def hook_url(settings: Settings, secret: str, upstream: str, salt: str = "") -> str:
    """The notifyHook to register at an upstream."""
    return f"{settings.hook_base}/notify/{registered_token(secret, upstream, salt)}"


async def open_database(settings: Settings) -> Database:
    """Bring the schema up to date and open the database. Raises storage errors."""
    await asyncio.to_thread(partial(migrate, settings.database_url, patience_s=DATABASE_WAIT_S))
    database = Database(settings.database_url)
    database.charge_by(settings.plan)
    await database.open()
    return database


async def secret_of(settings: Settings, database: Database) -> str:
    """The secret from which hook URLs are derived: the configured one, or else the one stored in the database."""
    return settings.secret or await database.write("secret", stored.secret)


@asynccontextmanager
async def working(settings: Settings, receivers: Receivers) -> AsyncIterator[Worker]:
    """Run a worker without HTTP until the block ends."""
    async with _opened(settings, receivers) as (database, secret, clients):
        worker = Worker(settings, database, receivers.registry, secret, clients)
        await worker.start()
        try:
            yield worker
        finally:
            await worker.stop()


@asynccontextmanager
async def _opened(
    settings: Settings, receivers: Receivers, *, with_worker: bool = True
) -> AsyncIterator[tuple[Database, str, Clients | None]]:
    """The open database, the secret and the gateway's clients, while the loops that every process needs are running.

    Without a worker, all signals count as having receivers: the worker in another process, perhaps of a newer release, may
    have receivers that this process does not know.
    """
    database = await open_database(settings)
    registry, rules = receivers.registry, receivers.rules
    tally = TrafficCount(database)
    follower = Loop("follow the clock", database.follow_clock, interval_s=CLOCK_INTERVAL_S)
    try:
        secret = await secret_of(settings, database)
        clients = await clients_of_gateway(settings, database)
        if clients is not None:
            registry.want(SIGNALS_OF_TICKETS)
        if with_worker:
            database.fan_out_only(registry.connected_signals())
            rules.on_change = lambda: database.fan_out_only(registry.connected_signals())
        rules.loop.start()
        tally.loop.start()
        follower.start()
        try:
            with registry.closed():
                yield database, secret, clients
        finally:
            await follower.stop(LAST_WITHIN_S)
            await rules.loop.stop()
            await tally.stop()
    finally:
        await database.close()


class ServerParts(msgspec.Struct, frozen=True, kw_only=True):
    """The started parts of a server.

    `hang_up` ends the streams of open pages, for which the HTTP server waits when it stops. `connections` is filled by the
    HTTP server, and `/metrics` shows its counters.
    """

    application: ASGIApp
    connections: Connections
    database: Database
    secret: str
    tokens: NotifyTokens
    logins: Logins
    has_gateway: bool
    hang_up: Callable[[], None]


@asynccontextmanager
async def running(
    settings: Settings, receivers: Receivers, *, with_worker: bool = True
) -> AsyncIterator[ServerParts]:
    """Start a server's parts, and stop them at the end."""
    async with (
        _opened(settings, receivers, with_worker=with_worker) as (database, secret, clients),
        open_places(settings, database) as (places, upstream_clients),
        counting_refusals(database) as refusals,
        refreshing_tokens(settings, database, secret) as tokens,
        refreshing_logins(settings, database) as logins,
        refreshing_clients(clients),
    ):
        await database.write(
            "address", lambda connection: stored.remember_address(connection, settings.hook_base)
        )
        worker = Worker(settings, database, receivers.registry, secret, clients) if with_worker else None
        if worker is not None:
            await worker.start()
        keeps = settings.gateway.keep_pictures if clients is not None else ""
        images = Images(database, places, kept=PictureStore(keeps) if keeps else None)
        stream = Stream(database)
        connections = Connections()
        get_loaded, view = partial(loaded, receivers), view_of(settings, clients)
        context = page_context(
            settings,
            database,
            tokens,
            places,
            get_loaded,
            has_token=lambda: bool(logins.token),
            gateway=view,
        )
        admin = Admin(logins)
        dashboard = Dashboard(context, Sessions(secret, admin, logins, settings.known_url), stream)
        links = ApprovalLinks(context, secret, images.serve)
        pages = [*dashboard.routes(), *images.routes(dashboard.guard), *links.routes()]
        # Objects from start-up live as long as the process; collecting them again and again is what raises the p99 latency.
        gc.freeze()
        gc.set_threshold(UNCOLLECTED)
        quotas = Quotas(settings.quotas, database.path)
        gateway = await gateway_of(
            settings, database, places, upstream_clients, secret, images.serve, clients
        )
        try:
            hook = Ingest(
                database,
                tokens,
                body_limit_bytes=settings.body_limit_bytes,
                dialects=dialects_of(settings),
                refusals=refusals,
                quotas=quotas,
            )
            yield ServerParts(
                application=_application(
                    settings,
                    database,
                    hook,
                    admin,
                    worker,
                    get_loaded,
                    places,
                    pages,
                    connections,
                    quotas,
                    gateway,
                    view,
                ),
                connections=connections,
                database=database,
                secret=secret,
                tokens=tokens,
                logins=logins,
                has_gateway=gateway is not None,
                hang_up=stream.stop,
            )
        finally:
            stream.stop()
            if gateway is not None:
                await gateway.stop()
            await images.aclose()
            if worker is not None:
                await worker.stop()


def _application(
    settings: Settings,
    database: Database,
    hook: Ingest,
    admin: Admin,
    worker: Worker | None,
    get_loaded: GetLoaded,
    places: Mapping[str, UpstreamHandle],
    pages: Sequence[BaseRoute],
    connections: Connections,
    quotas: Quotas,
    gateway: Gateway | None,
    view: GatewayView,
) -> ASGIApp:
    health = Health(database, worker.is_healthy if worker is not None else None, settings.upstreams)
    api = Api(
        database,
        settings.upstreams,
        dialects_of(settings),
        places,
        admin=admin,
        get_loaded=get_loaded,
        quotas=quotas,
        gateway=view,
    )
    metrics = Metrics(database, admin, connections)
    return create_app(
        hook,
        [*health.routes(), *metrics.routes(), *api.routes(), *pages],
        public_url=settings.known_url,
        gateway=gateway,
    )
