"""What all screens work with: the database, the upstreams, and what runs here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from dispatcher.budget import Budget
from dispatcher.chain import Place
from dispatcher.costs import Prices
from hooks.api.decisions import Loaded
from hooks.session import Visitor
from midjourney.dialects import Dialect, Upstream
from storage.engine import Connection, Database

T = TypeVar("T")


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """The notifyHook of an upstream. `is_public`: an address that others can reach; `url` is the upstream's own."""

    name: str
    url: str
    address: str
    is_public: bool
    is_sandbox: bool


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """One for all screens. `loaded` tells the rules and plugins of this process, as the API shows them; `examine` what
    the doctor finds at an upstream; `is_locked` whether an administrator's token is set."""

    database: Database
    upstreams: Mapping[str, Upstream]
    dialects: Mapping[str, Dialect]
    places: Mapping[str, Place]
    prices: Prices
    budget: Budget
    hooks: Sequence[Hook]
    loaded: Loaded
    examine: Callable[[str], Awaitable[dict[str, Any]]]
    is_locked: bool
    disk_warning: str

    @property
    def first(self) -> str:
        """The upstream that is taken where none is named; "" where there is none."""
        return "main" if "main" in self.upstreams else next(iter(self.upstreams), "")

    def rule_names(self) -> list[str]:
        """The receivers that run here, by name."""
        return sorted(self.loaded()["receivers"])

    def shared(self, visitor: Visitor, screen: str) -> dict[str, Any]:
        """What the frame of every page shows."""
        return {"screen": screen, "csrf": visitor.csrf or "", "may_log_out": self.is_locked}

    async def command(self, work: Callable[[Connection], T]) -> T:
        """Run what a person asked for, and wake those who do it. Raises `CommandError`."""
        done = await self.database.write("command", work)
        self.database.wakeups.wake("events", "submissions")
        return done
