"""What was spent, what came back, and what was not spent: sums over the ledger. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from midjourney.prices import price_of
from storage.ledger import Entry

Prices = Mapping[str, Mapping[str, float]]
"""For each upstream, the price of a kind of submission: "imagine", "upscale", "variation", "video" …, or "default"."""

By = Literal["rule", "chain", "day", "upstream"]

_PAID = frozenset({"accepted", "uncertain"})
"""States that cost: nobody knows of an uncertain one that it did not. A window that opened is free; its answer is not."""


class Sum(msgspec.Struct, kw_only=True):
    """Counts, and amounts in the currency of the prices. `net` is what was spent and did not come back."""

    submissions: int = 0
    spent: float = 0.0
    refunded: float = 0.0
    saved: float = 0.0
    saved_submissions: int = 0

    @property
    def net(self) -> float:
        """Spent, less what failed."""
        return self.spent - self.refunded


def sums(entries: Iterable[Entry], prices: Prices, by: By) -> dict[str, Sum]:
    """What it came to for each rule, chain, day (UTC) or upstream, in the order of their first submission."""
    found: dict[str, Sum] = {}
    key = _KEYS[by]
    for entry in entries:
        one = found.setdefault(key(entry), Sum())
        price = price_of(entry.kind, entry.request, prices.get(entry.upstream, {}))
        if entry.state in _PAID:
            one.submissions += 1
            one.spent += price
            one.refunded += price if entry.failed else 0.0
        saved = entry.repeats + (entry.state == "existed")
        one.saved_submissions += saved
        one.saved += saved * price
    return found


_KEYS: dict[str, Callable[[Entry], str]] = {
    "rule": lambda entry: entry.asked_by,
    "chain": lambda entry: entry.chain_id,
    "upstream": lambda entry: entry.upstream,
    "day": lambda entry: datetime.fromtimestamp(entry.created_at_ms / 1000, UTC).date().isoformat(),
}
