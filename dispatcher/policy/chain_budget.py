"""Limits what rules and plugins may submit in a chain. Pure: counters and limits in, a reason to refuse out."""

from __future__ import annotations

from typing import Annotated

import msgspec

from storage.records import ChainUse, Staged

Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of what rules and plugins submit. A grid with all four upscales uses 4 submissions and depth 1.

    `depth`: how many presses may follow one another; `submissions`: the submissions of all rules and plugins in a chain;
    `per_rule`: those of one rule or plugin function in a chain; `per_hour`: those of all rules and plugins at an upstream in an
    hour. Submissions by people are neither limited nor counted.
    """

    depth: Count = 8
    submissions: Count = 64
    per_rule: Count = 32
    per_hour: Count = 1000


def refusal(use: ChainUse, staged: Staged, budget: Budget) -> str:
    """The reason to refuse a submission in this chain, or ""."""
    if staged.is_by_hand:
        return ""
    if staged.depth > budget.depth:
        return f"depth {staged.depth} is over the chain's limit of {budget.depth}"
    if use.submissions >= budget.submissions:
        return (
            f"rules and plugins have made {use.submissions} submissions in this chain, "
            f"its limit is {budget.submissions}"
        )
    if use.by_same_receiver >= budget.per_rule:
        return (
            f"{staged.asked_by} has made {use.by_same_receiver} submissions, its limit is {budget.per_rule}"
        )
    if use.last_hour >= budget.per_hour:
        return (
            f"rules and plugins have asked {staged.upstream} for {use.last_hour} submissions in an hour, "
            f"its limit is {budget.per_hour}"
        )
    return ""
