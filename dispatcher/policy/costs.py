"""Sums over the ledger: what was spent, refunded, and saved. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from midjourney.prices import price_of
from storage.reading.ledger import Entry

Prices = Mapping[str, Mapping[str, float]]
"""For each upstream, the price of a kind of submission: "imagine", "upscale", "variation", "video" …, or "default"."""

By = Literal["rule", "chain", "day", "upstream"]

PAID = frozenset({"accepted", "uncertain"})
"""States that cost. An uncertain submission may have cost. Opening a modal is free; answering it is not."""


class Spending(msgspec.Struct, kw_only=True):
    """Counts, and amounts in the currency of the prices. `net` is what was spent and not refunded."""

    submissions: int = 0
    spent: float = 0.0
    refunded: float = 0.0
    saved: float = 0.0
    saved_submissions: int = 0

    @property
    def net(self) -> float:
        """Spending minus refunds."""
        return self.spent - self.refunded


def sums(entries: Iterable[Entry], prices: Prices, by: By) -> dict[str, Spending]:
    """The spending of each rule, chain, day (UTC) or upstream, in the order of their first submissions."""
    spending: dict[str, Spending] = {}
    key = _KEYS[by]
    for entry in entries:
        total = spending.setdefault(key(entry), Spending())
        price = price_of(entry.kind, entry.request, prices.get(entry.upstream, {}))
        is_paid = entry.state in PAID
        if is_paid:
            total.submissions += 1
            total.spent += price
            total.refunded += price if entry.failed else 0.0
        # A repetition saved money only if the submission was paid for; a task that existed was not paid for again.
        saved = entry.repeats if is_paid and not entry.failed else int(entry.state == "existed")
        total.saved_submissions += saved
        total.saved += saved * price
    return spending


_KEYS: dict[str, Callable[[Entry], str]] = {
    "rule": lambda entry: entry.asked_by,
    "chain": lambda entry: entry.chain_id,
    "upstream": lambda entry: entry.upstream,
    "day": lambda entry: datetime.fromtimestamp(entry.created_at_ms / 1000, UTC).date().isoformat(),
}
