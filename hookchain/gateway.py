"""Creates the gateway from the settings, if it is on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.tickets.answers import REFUSED
from dispatcher.tickets.clients import Client
from dispatcher.tickets.views import PictureAddresses, Views
from hookchain.settings.load import Settings
from hookchain.upstreams import dialects_of
from hooks.gateway.accounts import Accounts
from hooks.gateway.answering import CrossOrigin, Refused
from hooks.gateway.bodies import Bodies
from hooks.gateway.clients import Clients, TooManyWrongKeys, presented
from hooks.gateway.gateway import Gateway
from hooks.gateway.pictures import Pictures, Serve
from hooks.gateway.pools import Pools
from hooks.gateway.reads import Reads
from hooks.gateway.submits import Submits
from hooks.gateway.tasks import TaskCalls
from hooks.gateway_view import GatewayView
from midjourney.client import Client as UpstreamClient
from storage import clock
from storage.blobs.store import BlobStore
from storage.engine import Database

if TYPE_CHECKING:
    from starlette.types import Scope


async def gateway_of(
    settings: Settings,
    database: Database,
    handles: Mapping[str, UpstreamHandle],
    upstream_clients: Mapping[str, UpstreamClient],
    secret: str,
    serve_picture: Serve,
    clients: Clients | None,
) -> Gateway | None:
    """The gateway; None if it is off. `serve_picture` answers with the picture of a task."""
    if clients is None:
        return None

    async def seed_of(upstream: str, task_id: str) -> str:
        return await upstream_clients[upstream].image_seed(task_id)

    async def upload_to(upstream: str, images: list[str]) -> list[str]:
        return await upstream_clients[upstream].upload(images)

    shared = settings.gateway
    store = BlobStore(database, clock.now_ms)
    await store.open()
    addresses = PictureAddresses(secret, settings.hook_base)
    return Gateway(
        _Keys(clients),
        Reads(database, Views(dialects_of(settings), addresses), handles),
        Submits(
            database,
            handles,
            own_address=settings.hook_base,
            upstreams=[upstream.url for upstream in settings.upstreams.values()],
            within_s=shared.answer_within_s,
            action_within_s=shared.answer_action_within_s,
        ),
        TaskCalls(database, handles, seed_of, upload_to),
        Accounts(database, settings.upstreams),
        Bodies(store, limit_bytes=shared.submit_limit_bytes, together_bytes=shared.spool_limit_bytes),
        Pools(database, settings.upstreams, settings.pools),
        Pictures(database, addresses, serve_picture),
        CrossOrigin(shared.cors_origins),
        database.tally,
    )


def view_of(settings: Settings, clients: Clients | None) -> GatewayView:
    """What the API and the pages show of the gateway, which is off without clients."""
    return GatewayView(
        is_on=clients is not None,
        named=lambda name: settings.clients.get(name) or Client(name=name),
        configured=settings.clients,
        pools=settings.pools,
        upstreams=list(settings.upstreams),
        zone=ZoneInfo(settings.timezone),
    )


class _Keys:
    """Finds clients by their keys."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def client_of(self, scope: Scope, path_key: str) -> Client | None:
        """See `FindClient`."""
        address = scope["client"][0] if scope.get("client") else ""
        try:
            return await self._clients.find(presented(scope["headers"], path_key), address)
        except TooManyWrongKeys as error:
            raise Refused(429, REFUSED, str(error), headers=[("retry-after", "60")]) from error
