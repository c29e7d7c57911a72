"""What the API and the pages know of the gateway: its clients as configured, and the accounts behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from zoneinfo import ZoneInfo

import msgspec

from dispatcher.tickets.clients import Client, Pool
from dispatcher.tickets.routing import pool_of


class GatewayView(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway. `is_on` is False if it takes no orders; tickets from before may still be there. `named` returns a client by its name,
    with the defaults if `configured` lacks it. `zone`: that of the days."""

    is_on: bool
    named: Callable[[str], Client]
    configured: Mapping[str, Client]
    pools: Mapping[str, Pool]
    upstreams: Sequence[str]
    zone: ZoneInfo

    def pool(self, client: Client) -> Pool:
        """The accounts that a client may use."""
        return pool_of(client, self.pools, self.upstreams)


NO_GATEWAY = GatewayView(
    is_on=False,
    named=lambda name: Client(name=name),
    configured={},
    pools={},
    upstreams=(),
    zone=ZoneInfo("UTC"),
)
