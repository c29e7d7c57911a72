"""Budgets: what was counted of each."""

from __future__ import annotations

import msgspec


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a budget is used up, for one scope, in the period that ends at `ends_at_ms`."""

    budget: str
    scope: str
    period: str
    ends_at_ms: int
    submissions: int
    spent_micros: int
