"""Types shared by dispatcher/policy/period_budgets.py, which decides, and storage/budgets/counters.py, which counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from storage.records import Used

PLAN = "budgets"
"""The key of the plan in `Connection.info`."""

NO_LIMIT = 2**62
"""Stands for a limit that a budget does not have."""


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """The facts about a submission that decide what it is charged to. `state` is its own, or that of its chain's root."""

    upstream: str
    kind: str
    request: bytes
    asked_by: str
    chain_id: str
    client: str
    state: str


class Charge(msgspec.Struct, frozen=True, array_like=True):
    """One submission, and its price, in one period of one budget."""

    budget: str
    scope: str
    period: str
    micros: int


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A charge to make if the limits allow it. `impossible`: why the limits cannot be checked, such as an unknown price."""

    charge: Charge
    ends_at_ms: int
    most_submissions: int = NO_LIMIT
    most_micros: int = NO_LIMIT
    impossible: str = ""


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a budget is used up in the present period, for one scope ("" for the total).

    `measure`: the unit of `used` and `limit`, "submissions" or "spend". `client`: the only client that it is for, or "".
    """

    budget: str
    per: str
    by: str
    scope: str
    period: str
    ends_at_ms: int
    used: float
    limit: float
    measure: str
    client: str = ""

    @property
    def left(self) -> float:
        """How much is left. Stays 0 while a person's releases have exceeded the limit."""
        return max(0.0, self.limit - self.used)


class Plan(Protocol):
    """The budgets from the settings."""

    @property
    def needs_state(self) -> bool:
        """True if a budget depends on the `state` of a bill."""

    def claims(self, bill: Bill, now_ms: int) -> Sequence[Claim]:
        """The charges to make for a submission."""

    def refusal(self, claim: Claim, submissions: int, spent_micros: int) -> str:
        """The reason for a refusal, given how much is used up."""

    def standing(self, used: Iterable[Used], now_ms: int) -> Sequence[Left]:
        """How much of each budget is used up, for display."""
