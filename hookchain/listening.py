"""Lets a worker serve the gateway's clients: it tells their hooks, answers their windows, moves their orders, and ends what is overdue."""

from __future__ import annotations

from collections.abc import Mapping

from dispatcher.loops.loop import Loop
from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.plugins.receivers import Registry
from dispatcher.tickets.keeping import PictureStore
from dispatcher.tickets.listening import CONFIRM, PICTURES, Listening, wants
from dispatcher.tickets.moving import Moving
from dispatcher.tickets.overdue import Overdue
from dispatcher.tickets.telling import Teller
from dispatcher.tickets.views import PictureAddresses, Views
from dispatcher.tickets.windows import Windows
from hookchain.settings.load import Settings
from hookchain.upstreams import dialects_of
from hooks.gateway.clients import Clients
from storage import clock
from storage.deliveries.delivery_queue import Listen
from storage.engine import Database
from storage.tickets.audience import HOOK, WINDOW


async def clients_of_gateway(settings: Settings, database: Database) -> Clients | None:
    """The clients and their keys, if the gateway is on: by the settings, or because a stored key is valid. None if it is off."""
    if settings.gateway.enabled is False:
        return None
    clients = Clients(settings.clients, database)
    await clients.read()
    return clients if settings.gateway_is_on or clients.has_stored_keys else None


def listening(
    settings: Settings,
    database: Database,
    registry: Registry,
    handles: Mapping[str, UpstreamHandle],
    secret: str,
    clients: Clients,
) -> Listen:
    """Adds the receivers of hooks and windows to the registry; returns who hears of events."""
    views = Views(dialects_of(settings), PictureAddresses(secret, settings.hook_base))
    teller = Teller(database, handles, clients.named, views)
    registry.add_family(HOOK, teller.receiver)
    registry.add_family(CONFIRM, teller.confirming)
    registry.add_family(WINDOW, Windows(database).receiver)
    to = settings.gateway.keep_pictures
    if to:
        registry.add_family(PICTURES, PictureStore(to).receiver)
    return Listening(registry, clients.named, keeps_pictures=bool(to))


def wants_of(clients: Clients, client: str, receiver: str) -> bool:
    """True if a client, by its name, wants a receiver to act on its tasks."""
    return wants(clients.named(client), receiver)


def moving_of(settings: Settings, clients: Clients) -> Moving:
    """What moves orders to other accounts."""
    return Moving(clients.named, settings.pools, dialects_of(settings))


def overdue(settings: Settings, database: Database, clients: Clients, moving: Moving) -> Loop:
    """The loop that ends overdue tickets."""
    return Overdue(
        database,
        clients.named,
        clock.now_ms,
        uncertain_max_s=settings.gateway.uncertain_max_s,
        run_max_s=settings.gateway.run_max_s,
        moving=moving,
    ).loop
