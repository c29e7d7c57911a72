"""Why new work goes to an account, in words: what people read when they ask about an order."""

from __future__ import annotations

import pytest

from dispatcher.tickets.clients import Pool
from dispatcher.tickets.routing import Account, ordered, reason

NAMES = ["main", "spare", "slow"]
ALL_FREE = [Account(name, free=3) for name in NAMES]


@pytest.mark.parametrize(
    ("pool", "accounts", "mode", "expected"),
    [
        (Pool(upstreams=NAMES), ALL_FREE, "", "the first of its pool"),
        (
            Pool(upstreams=NAMES),
            [Account("main", is_stopped=True, free=3), Account("spare", free=0), Account("slow", free=1)],
            "",
            "the first of its pool; main is paused, full or does not answer; spare has no free place",
        ),
        (
            Pool(upstreams=NAMES, modes={"main": ["fast"], "spare": ["Relax"]}),
            ALL_FREE,
            "relax",
            "the first of its pool that works in mode relax; main does not work in mode relax",
        ),
        (
            Pool(upstreams=NAMES[:2], modes={"main": ["fast"], "spare": ["relax"]}, mode_fallback="relax"),
            [Account("main", is_stopped=True, free=3), Account("spare", free=3)],
            "fast",
            "the first of its pool that works in mode relax, because none takes mode fast now; "
            "main is paused, full or does not answer",
        ),
        (
            Pool(upstreams=NAMES, order="free"),
            [Account("main", free=1), Account("spare", free=2), Account("slow")],
            "",
            "the one with the most free places; slow has no free place",
        ),
        (
            Pool(upstreams=NAMES[:2], order="weight", weights={"main": 0}),
            ALL_FREE[:2],
            "",
            "drawn by weight; main has weight 0",
        ),
    ],
    ids=["order", "passed over", "mode", "fallback", "free", "weight"],
)
def test_the_reason_names_what_was_passed_over(
    pool: Pool, accounts: list[Account], mode: str, expected: str
) -> None:
    """Accounts behind the chosen one are not mentioned."""
    chosen, *_ = ordered(pool, accounts, mode, lambda: 0.5)
    assert reason(pool, accounts, mode, chosen) == expected
