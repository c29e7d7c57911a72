"""What all pages use: the database, the upstreams, and the rules and plugins of this process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from dispatcher.by_hand import pressing
from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.policy.chain_budget import Budget
from dispatcher.policy.costs import Prices
from dispatcher.policy.period_budgets import PeriodBudget
from hooks.api.loaded import GetLoaded
from hooks.dashboard.finding import Finding
from hooks.gateway_view import NO_GATEWAY, GatewayView
from midjourney.dialects import Dialect, Upstream
from storage.engine import Connection, Database

T = TypeVar("T")


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """The notifyHook of an upstream. `address` is the hook's URL, `url` the upstream's own. `is_public`: others can reach the hook."""

    name: str
    url: str
    address: str
    is_public: bool
    is_sandbox: bool


class PageContext(msgspec.Struct, frozen=True, kw_only=True):
    """What the handlers of all pages share.

    `hooks` returns the notifyHooks to register now, `get_loaded` the rules and plugins of this process, `examine` what
    `hookchain doctor` finds out about an upstream. `has_token` returns True if an administrator's token is set. `gateway`: what is
    known of the gateway.
    """

    database: Database
    upstreams: Mapping[str, Upstream]
    dialects: Mapping[str, Dialect]
    places: Mapping[str, UpstreamHandle]
    prices: Prices
    budget: Budget
    budgets: Sequence[PeriodBudget] = ()
    zone: str = "UTC"
    hooks: Callable[[], Sequence[Hook]]
    get_loaded: GetLoaded
    examine: Callable[[str], Awaitable[Finding]]
    has_token: Callable[[], bool]
    disk_warning: str
    price_warnings: Sequence[str] = ()
    gateway: GatewayView = NO_GATEWAY

    @property
    def default_upstream(self) -> str:
        """The upstream to use if none is named; "" if there is none."""
        return "main" if "main" in self.upstreams else next(iter(self.upstreams), "")

    def receiver_names(self) -> list[str]:
        """Return the names of the receivers that run here, sorted."""
        return sorted(self.get_loaded().receivers)

    def frame_values(self, screen: str) -> dict[str, object]:
        """Return what the frame of every page shows."""
        return {"screen": screen, "may_log_out": self.has_token(), "has_clients": self.gateway.is_on}

    async def command(self, work: Callable[[Connection], T], *, upstream: str = "") -> T:
        """Run a person's command in a transaction, and wake the loops that carry it out. If `upstream` is given, the command is about
        one of its tasks, which is read back if necessary. Raises `CommandError`."""
        if upstream:
            done = await pressing.stage_with_readback(self.database, self.places[upstream], work)
        else:
            done = await self.database.write("command", work)
        self.database.wakeups.wake("events", "submissions")
        return done
