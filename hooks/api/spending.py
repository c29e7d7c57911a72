"""/api/costs and /api/budgets: what submissions cost, and how much of each budget is left."""

from __future__ import annotations

import msgspec
from starlette.requests import Request

from dispatcher.policy.costs import Prices, sums
from hooks.api import shapes
from hooks.api.reports import Budgets, Cost, Costs, GroupBy
from hooks.numbers import number
from hooks.problems import Problem
from storage import clock
from storage.budgets import counters
from storage.engine import Database
from storage.reading import ledger

_GROUPS: dict[str, GroupBy] = {"rule": "rule", "chain": "chain", "day": "day", "upstream": "upstream"}


class Spending:
    """Handlers that read one database."""

    def __init__(self, database: Database, prices: Prices) -> None:
        self._database = database
        self._prices = prices

    async def costs(self, request: Request) -> tuple[int, Costs]:
        """Return what was spent, refunded and saved since `since_ms`, by rule, chain, day or upstream."""
        by = _GROUPS.get(request.query_params.get("by", "rule"))
        since_ms = number(request.query_params.get("since_ms", "0"))
        if by is None or since_ms is None:
            raise Problem(422, f"by must be one of {', '.join(_GROUPS)}; since_ms must be epoch milliseconds")
        totals = await self._database.read(
            lambda connection: sums(ledger.entries(connection, since_ms), self._prices, by)
        )
        return 200, Costs(
            by=by,
            costs=[
                Cost(key=key, net=round(total.net, 6), **msgspec.structs.asdict(total))
                for key, total in totals.items()
            ],
        )

    async def budgets(self, _request: Request) -> tuple[int, Budgets]:
        """Return how much of each budget is used and left in the current hour, day or month."""
        plan, now_ms = self._database.plan, clock.now_ms()
        used = await self._database.read(lambda connection: counters.used(connection, now_ms))
        balances = plan.standing(used, now_ms) if plan is not None else []
        return 200, Budgets(budgets=[shapes.budget_shape(balance) for balance in balances])
