"""Upstreams that can be asked: a client for each, at the rate that all processes on one database share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

from dispatcher import limits
from dispatcher.chain import Place
from dispatcher.supervisor import until_durable
from hookchain.settings import Settings
from midjourney.client import Client
from midjourney.dialects import Dialect, Upstream
from storage import upstreams as stored_upstreams
from storage.engine import Connection, Database


def dialects_of(settings: Settings) -> dict[str, Dialect]:
    """What each upstream speaks."""
    return {name: settings.dialects[upstream.dialect] for name, upstream in settings.upstreams.items()}


def places_of(settings: Settings, clients: Mapping[str, Client] | None = None) -> dict[str, Place]:
    """Every upstream as chains see it; with clients, one that tells where a picture is now."""
    dialects, known = dialects_of(settings), clients or {}
    return {
        name: Place(
            name=name,
            dialect=dialects[name],
            url=upstream.url,
            refresh=known[name].refresh if name in known else None,
        )
        for name, upstream in settings.upstreams.items()
    }


def clients_of(settings: Settings, database: Database) -> dict[str, Client]:
    """A client for each upstream, to be closed. They make no connection before something is sent."""
    dialects = dialects_of(settings)
    return {
        name: Client(upstream, dialects[name], pace=partial(_may_ask, database, upstream))
        for name, upstream in settings.upstreams.items()
    }


@asynccontextmanager
async def asking(settings: Settings, database: Database) -> AsyncIterator[dict[str, Place]]:
    """Every upstream with a way to ask it, for a process that may have no worker. Closes the connections at the end."""
    clients = clients_of(settings, database)
    try:
        yield places_of(settings, clients)
    finally:
        await asyncio.gather(*(client.aclose() for client in clients.values()))


async def _may_ask(database: Database, upstream: Upstream) -> None:
    """Wait until the upstream's rate allows a question."""
    if not upstream.rate:
        return

    def spend(connection: Connection) -> int:
        at_ms = time.time_ns() // 1_000_000
        after = limits.spent(upstream, stored_upstreams.held(connection, upstream.name), 1, at_ms)
        stored_upstreams.save(connection, after)
        return limits.wait_ms(upstream, after, at_ms)

    wait_ms = await until_durable(lambda: database.write("ask", spend))
    await asyncio.sleep(wait_ms / 1000)
