"""Lets a worker serve the gateway's clients: it tells their hooks, and answers their windows."""

from __future__ import annotations

from collections.abc import Mapping

from dispatcher.loops.loop import Loop
from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.plugins.receivers import Registry
from dispatcher.tickets.keeping import PictureStore
from dispatcher.tickets.listening import CONFIRM, HOOK, PICTURES, WINDOW, Listening
from dispatcher.tickets.moving import Moving
from dispatcher.tickets.overdue import Overdue
from dispatcher.tickets.telling import Teller
from dispatcher.tickets.views import PictureAddresses, Views
from dispatcher.tickets.windows import Windows
from hookchain.settings.load import Settings
from hookchain.upstreams import dialects_of
from storage import clock
from storage.deliveries.delivery_queue import Listen
from storage.engine import Database


def listening(
    settings: Settings,
    database: Database,
    registry: Registry,
    handles: Mapping[str, UpstreamHandle],
    secret: str,
) -> Listen | None:
    """Adds the receivers of hooks and windows to the registry; returns who hears of events, or None without a gateway."""
    if not settings.clients:
        return None
    views = Views(dialects_of(settings), PictureAddresses(secret, settings.hook_base))
    teller = Teller(database, handles, lambda: settings.clients, views)
    registry.add_family(HOOK, teller.receiver)
    registry.add_family(CONFIRM, teller.confirming)
    registry.add_family(WINDOW, Windows(database).receiver)
    if settings.keep_pictures:
        registry.add_family(PICTURES, PictureStore(settings.keep_pictures).receiver)
    return Listening(registry, lambda: settings.clients, keeps_pictures=bool(settings.keep_pictures))


def overdue(settings: Settings, database: Database) -> list[Loop]:
    """The loop that ends overdue tickets; none without a gateway."""
    moving = moving_of(settings)
    if moving is None:
        return []
    return [Overdue(database, lambda: settings.clients, clock.now_ms, moving=moving).loop]


def moving_of(settings: Settings) -> Moving | None:
    """What moves orders to other accounts; None without a gateway."""
    return (
        Moving(lambda: settings.clients, settings.pools, dialects_of(settings)) if settings.clients else None
    )
