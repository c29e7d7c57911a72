"""GET /api/clients: the clients of the gateway, and how much each of them uses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from starlette.requests import Request

from dispatcher.policy.periods import day_began_ms
from hooks.api import shapes
from hooks.api.gateway_answers import Client, ClientHook, ClientKey, ClientPool, Clients
from hooks.gateway_view import GatewayView
from hooks.problems import Problem
from hooks.times import when
from storage import clock
from storage.budgets import counters
from storage.budgets.billing import Left, Plan
from storage.engine import Connection, Database
from storage.reading import client_use
from storage.reading.client_use import ClientUse


class GatewayClients:
    """Handlers that read one database."""

    def __init__(self, database: Database, gateway: GatewayView) -> None:
        self._database = database
        self._gateway = gateway

    async def list(self, _request: Request) -> tuple[int, Clients]:
        """List all clients: those of the settings, and those that have tickets or a stored key."""
        gateway, plan = self._gateway, self._database.plan
        found = await self._database.read(lambda connection: clients_now(connection, gateway, plan))
        return 200, Clients(is_on=gateway.is_on, clients=found)

    async def get(self, request: Request) -> tuple[int, Client]:
        """Return one client."""
        name, gateway, plan = request.path_params["name"], self._gateway, self._database.plan
        found = await self._database.read(lambda connection: clients_now(connection, gateway, plan, name))
        if not found:
            raise Problem(404, f"There is no client {name!r}; `hookchain clients` lists them")
        return 200, found[0]


def clients_now(
    connection: Connection, gateway: GatewayView, plan: Plan | None, name: str = ""
) -> list[Client]:
    """The clients as they are now, by name; `name` leaves only this one."""
    now_ms = clock.now_ms()
    known = {*client_use.names(connection, now_ms), *gateway.configured}
    wanted = sorted(known & {name} if name else known)
    uses = client_use.uses(connection, wanted, day_began_ms(now_ms, gateway.zone), now_ms)
    used = counters.used(connection, now_ms) if plan is not None else []
    standing = plan.standing(used, now_ms) if plan is not None else ()
    return [_client(use, gateway, _budgets_of(use.name, standing)) for use in uses]


def _budgets_of(name: str, standing: Iterable[Left]) -> list[Left]:
    """The budgets of one client: its own ones, and its share of those that count by client."""
    return [
        left
        for left in standing
        if left.client == name or (left.by, left.scope) == ("client", f"client {name}")
    ]


def _client(use: ClientUse, gateway: GatewayView, budgets: Sequence[Left]) -> Client:
    configured = gateway.named(use.name)
    pool = gateway.pool(configured)
    keys = [ClientKey(kept="file", hint=None, created_at=None, last_used_at=None, ends_at=None)]
    return Client(
        name=use.name,
        configured=use.name in gateway.configured,
        tickets_today=use.tickets_today,
        open=use.not_ended - use.windows,
        windows=use.windows,
        queue_max=configured.queue_max,
        at_once=configured.at_once,
        rate=configured.rate,
        budgets=[shapes.budget_shape(left) for left in budgets],
        last_order_at=when(use.ordered_at_ms),
        last_seen_at=when(use.seen_at_ms),
        keys=[
            *(keys if configured.key else []),
            *(
                ClientKey(
                    kept="stored",
                    hint=key.hint,
                    created_at=when(key.created_at_ms),
                    last_used_at=when(key.last_used_at_ms),
                    ends_at=when(key.revoked_at_ms),
                )
                for key in use.keys
            ),
        ],
        pool=ClientPool(name=pool.name or None, upstreams=pool.upstreams, order=pool.order),
        rules=configured.rules,
        children=configured.children,
        hook_hosts=configured.hook_hosts,
        hooks=[
            ClientHook(host=hook.host, waiting=hook.waiting, failing=hook.failing, dead=hook.dead)
            for hook in use.hooks
        ],
    )
