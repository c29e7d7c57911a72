"""`[[budgets]]`: limits on submissions or money per hour, day or month, for rules and people alike.

Pure: a submission and the time in; the budgets that it counts towards and their limits out. `storage/budgets/counters.py` counts,
which must be correct with several processes. `[budget]`, the limits of a chain, is in `dispatcher/policy/chain_budget.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec

from dispatcher.policy.periods import Per, period_of
from midjourney.prices import price_of
from storage.budgets.billing import Bill, Charge, Claim, Left
from storage.records import BY_HAND, Used

By = Literal["", "upstream", "rule", "chain", "state", "client"]

Prices = Mapping[str, Mapping[str, float]]
"""For each upstream, the price of a kind of submission."""

MICROS = 1_000_000
"""Amounts are counted in millionths, as whole numbers, so that three times 0.1 is 0.3."""

_FREE = frozenset({"cancel"})
"""Kinds that never count: cancelling a task must always be possible, and is free."""


class PeriodBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most `submissions`, or at most `spend` in the currency of the prices, `per` hour, day or month.

    `by`: counts separately for each upstream, rule or plugin function, chain, `state` or client; "" for all together. `client`: only
    for what this client of the gateway submits itself, and not for what rules add to its chains; "" for everybody. `name` appears
    in refusals; without one, the budget is named after what it limits.
    """

    per: Per
    by: By = ""
    submissions: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)] | None = None
    spend: Annotated[float, msgspec.Meta(ge=0, le=1_000_000_000)] | None = None
    client: str = ""
    name: str = ""

    @property
    def title(self) -> str:
        """The name for people."""
        measure = "submissions" if self.spend is None else "spend"
        limited_to = f" of client {self.client}" if self.client else ""
        return self.name or f"{measure} per {self.per}{limited_to}" + (f" by {self.by}" if self.by else "")


class Budgets:
    """All period budgets; `prices` are those of the upstreams."""

    def __init__(self, budgets: Sequence[PeriodBudget], zone: ZoneInfo, prices: Prices) -> None:
        self._budgets = {budget.title: budget for budget in budgets}
        self._zone = zone
        self._prices = prices
        self.needs_state = any(budget.by == "state" for budget in budgets)

    def claims(self, bill: Bill, now_ms: int) -> list[Claim]:
        """What a submission uses of each budget."""
        if bill.kind in _FREE:
            return []
        price = _micros(price_of(bill.kind, bill.request, self._prices.get(bill.upstream, {})))
        scopes = {
            title: _scope(budget.by, bill)
            for title, budget in self._budgets.items()
            if not budget.client or bill.asked_by == asked_by_client(budget.client)
        }
        return [
            self._claim(budget, str(scopes[title]), bill, price, now_ms)
            for title, budget in self._budgets.items()
            if scopes.get(title) is not None
        ]

    def _claim(self, budget: PeriodBudget, scope: str, bill: Bill, price: int, now_ms: int) -> Claim:
        period = period_of(budget.per, now_ms, self._zone)
        if budget.spend is None:
            charge = Charge(budget.title, scope, period.name, price)
            return Claim(
                charge=charge, ends_at_ms=period.ends_at_ms, most_submissions=budget.submissions or 0
            )
        price = price or _micros(fallback(self._prices.get(bill.upstream, {})))
        return Claim(
            charge=Charge(budget.title, scope, period.name, price),
            ends_at_ms=period.ends_at_ms,
            most_micros=_micros(budget.spend),
            impossible="" if price else _priceless(budget, bill),
        )

    def refusal(self, claim: Claim, submissions: int, spent_micros: int) -> str:
        """Why a budget does not allow a submission, as a sentence for people."""
        charge, budget = claim.charge, self._budgets[claim.charge.budget]
        of = f" for {charge.scope}" if charge.scope else ""
        next_begins = f"{datetime.fromtimestamp(claim.ends_at_ms / 1000, self._zone):%Y-%m-%d %H:%M %Z}"
        if budget.spend is None:
            used = f"{submissions} of {budget.submissions} submissions are used up"
        else:
            used = (
                f"{_shown(spent_micros)} of {budget.spend:g} is spent, and this costs {_shown(charge.micros)}"
            )
        return (
            f"budget {budget.title!r}{of}, {charge.period}: {used}; the next period begins at {next_begins}"
        )

    def standing(self, used: Iterable[Used], now_ms: int) -> list[Left]:
        """How much of each budget is used now. A budget for all together is listed even if unused."""
        rows = {(row.budget, row.scope, row.period): row for row in used}
        standing: list[Left] = []
        for title, budget in sorted(self._budgets.items()):
            period = period_of(budget.per, now_ms, self._zone)
            scopes = {row.scope for row in rows.values() if (row.budget, row.period) == (title, period.name)}
            for scope in sorted(scopes | ({""} if not budget.by else set())):
                used_row = rows.get((title, scope, period.name))
                standing.append(_left(budget, scope, period.name, period.ends_at_ms, used_row))
        return standing


def asked_by_client(name: str) -> str:
    """Who asked for a submission, if a client of the gateway did."""
    return f"{BY_HAND}client {name}"


def fallback(prices: Mapping[str, float]) -> float:
    """The amount that a submission without a price counts as: the highest price of its upstream; 0 if there are no prices."""
    return max(prices.values(), default=0.0)


def price_warnings(budgets: Iterable[PeriodBudget], prices: Prices) -> list[str]:
    """Warnings for upstreams whose prices are missing or 0 although a budget limits spending."""
    if not any(budget.spend is not None for budget in budgets):
        return []
    warnings: list[str] = []
    for name, known in prices.items():
        free = sorted(kind for kind, price in known.items() if not price)
        lacking = [f"the price of {', '.join(free)} is 0"] if free else []
        lacking += [] if known.get("default") else ["some kinds have no price, because there is no default"]
        if not fallback(known):
            warnings.append(
                f"[upstreams.{name}] has no prices, and a budget limits spending: "
                f"hookchain refuses every submission there. Set prices = {{ default = … }}"
            )
        elif lacking:
            warnings.append(
                f"[upstreams.{name}] prices: {' and '.join(lacking)}. Budgets count such a submission as "
                f"{fallback(known):g}, the highest price there"
            )
    return warnings


def _priceless(budget: PeriodBudget, bill: Bill) -> str:
    return (
        f"budget {budget.title!r} limits spending, and {bill.upstream} has no prices; "
        f"set prices in [upstreams.{bill.upstream}]"
    )


def _scope(by: By, bill: Bill) -> str | None:
    """The scope that a submission counts in; None if the budget does not apply to it (`by = "rule"` and a person asked)."""
    match by:
        case "":
            return ""
        case "rule":
            return (
                None if bill.asked_by.startswith(BY_HAND) else f"rule {bill.asked_by.removeprefix('rule:')}"
            )
        case "chain":
            return f"chain {bill.chain_id}"
        case "upstream":
            return f"upstream {bill.upstream}"
        case "state":
            return f"state {bill.state}" if bill.state else "no state"
        case "client":
            return f"client {bill.client}" if bill.client else "no client"


def _left(budget: PeriodBudget, scope: str, period: str, ends_at_ms: int, row: Used | None) -> Left:
    used: float
    limit: float
    if budget.spend is None:
        used = row.submissions if row is not None else 0
        limit = budget.submissions or 0
    else:
        used = row.spent_micros / MICROS if row is not None else 0.0
        limit = budget.spend
    return Left(
        budget=budget.title,
        per=budget.per,
        by=budget.by,
        scope=scope,
        period=period,
        ends_at_ms=ends_at_ms,
        used=used,
        limit=limit,
        measure="submissions" if budget.spend is None else "spend",
        client=budget.client,
    )


def _micros(amount: float) -> int:
    """Convert to millionths; a price below one millionth counts as one."""
    return max(round(amount * MICROS), 1) if amount > 0 else 0


def _shown(micros: int) -> str:
    return f"{micros / MICROS:.10g}"
