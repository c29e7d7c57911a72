"""Creates the gateway from the settings, if it is on."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.tickets.clients import Client
from dispatcher.tickets.keeping import PictureStore
from dispatcher.tickets.views import PictureAddresses, Views
from hookchain.settings.load import Settings
from hookchain.upstreams import dialects_of
from hooks.gateway.accounts import Accounts
from hooks.gateway.answering import CrossOrigin, header
from hooks.gateway.bodies import Bodies
from hooks.gateway.gateway import Gateway
from hooks.gateway.pictures import Pictures, Serve
from hooks.gateway.pools import Pools
from hooks.gateway.reads import Reads
from hooks.gateway.submits import Submits
from hooks.gateway.tasks import TaskCalls
from midjourney.client import Client as UpstreamClient
from storage.engine import Database

if TYPE_CHECKING:
    from starlette.types import Scope


def gateway_of(
    settings: Settings,
    database: Database,
    handles: Mapping[str, UpstreamHandle],
    upstream_clients: Mapping[str, UpstreamClient],
    secret: str,
    serve_picture: Serve,
) -> Gateway | None:
    """The gateway; None if it is off. `serve_picture` answers with the picture of a task."""
    if not settings.clients:
        return None

    async def seed_of(upstream: str, task_id: str) -> str:
        return await upstream_clients[upstream].image_seed(task_id)

    async def upload_to(upstream: str, images: list[str]) -> list[str]:
        return await upstream_clients[upstream].upload(images)

    addresses = PictureAddresses(secret, settings.hook_base)
    kept = PictureStore(settings.keep_pictures) if settings.keep_pictures else None
    return Gateway(
        _FileClients(settings.clients),
        Reads(database, Views(dialects_of(settings), addresses), handles),
        Submits(database, handles, own_address=settings.hook_base),
        TaskCalls(database, handles, seed_of, upload_to),
        Accounts(database, settings.upstreams),
        Bodies(),
        Pools(database, settings.upstreams, settings.pools),
        Pictures(database, addresses, serve_picture, kept),
        CrossOrigin(),
    )


class _FileClients:
    """The clients of the configuration file."""

    def __init__(self, clients: Mapping[str, Client]) -> None:
        self._clients = clients

    async def client_of(self, scope: Scope, path_key: str) -> Client | None:
        """See `FindClient`."""
        bearer = header(scope, b"authorization")
        given = path_key or header(scope, b"mj-api-secret") or bearer.removeprefix("Bearer ").strip()
        for client in self._clients.values():
            if client.key and hmac.compare_digest(client.key.encode(), given.encode()):
                return client
        return None
