"""A client for each upstream. All processes on one database share the upstream's rate limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from typing import NamedTuple

from dispatcher.loops.loop import until_durable
from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.policy import upstream_limits
from dispatcher.rules.later import mistake_in
from dispatcher.runs.readback import Readback
from hookchain.settings.load import Settings
from midjourney.client import Client
from midjourney.dialects import Dialect, Upstream
from midjourney.links import near_of
from storage import clock
from storage.blobs.store import BlobStore
from storage.engine import Connection, Database
from storage.upstreams import standings as stored_upstreams


class Places(NamedTuple):
    """Every upstream as chains see it, and its client."""

    handles: dict[str, UpstreamHandle]
    clients: dict[str, Client]


def dialects_of(settings: Settings) -> dict[str, Dialect]:
    """The dialect of each upstream, by its name."""
    return {name: settings.dialects[upstream.dialect] for name, upstream in settings.upstreams.items()}


def places_of(settings: Settings, clients: Mapping[str, Client] | None = None) -> dict[str, UpstreamHandle]:
    """Every upstream as chains see it. With clients, chains can also refresh picture addresses and read tasks back."""
    dialects, known = dialects_of(settings), clients or {}
    return {
        name: UpstreamHandle(
            name=name,
            dialect=dialects[name],
            near=near_of(upstream),
            refresh=known[name].refresh if name in known else None,
            read_back=Readback(name, known[name], clock.now_ms).ask if name in known else None,
            zone=settings.timezone,
            mistake_in=mistake_in,
        )
        for name, upstream in settings.upstreams.items()
    }


def clients_of(settings: Settings, database: Database) -> dict[str, Client]:
    """A client for each upstream, which the caller closes. A client connects only when it sends its first request."""
    dialects, blobs = dialects_of(settings), BlobStore(database, clock.now_ms)
    return {
        name: Client(
            upstream,
            dialects[name],
            pace=partial(_wait_for_rate, database, upstream),
            timed=partial(_timed, database, name),
            blobs=blobs,
        )
        for name, upstream in settings.upstreams.items()
    }


def _timed(database: Database, upstream: str, kind: str) -> AbstractContextManager[None]:
    return database.timings.requests_of(upstream, kind).timed()


@asynccontextmanager
async def open_places(settings: Settings, database: Database) -> AsyncIterator[Places]:
    """Every upstream with a client, for a process that may have no worker. Closes the clients at the end."""
    clients = clients_of(settings, database)
    try:
        yield Places(places_of(settings, clients), clients)
    finally:
        await asyncio.gather(*(client.aclose() for client in clients.values()))


async def _wait_for_rate(database: Database, upstream: Upstream) -> None:
    """Wait until the upstream's rate limit allows a request."""
    if not upstream.rate:
        return

    def spend(connection: Connection) -> int:
        at_ms = clock.now_ms()
        after = upstream_limits.after_requests(
            upstream, stored_upstreams.held(connection, upstream.name), 1, at_ms
        )
        stored_upstreams.save(connection, after)
        return upstream_limits.wait_ms(upstream, after, at_ms)

    wait_ms = await until_durable(lambda: database.write("ask", spend))
    await asyncio.sleep(wait_ms / 1000)
