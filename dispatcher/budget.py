"""What a chain may do by itself. Pure: counters and limits in, a reason to refuse out."""

from __future__ import annotations

import msgspec

from storage.records import ChainUse, Staged

BY_HAND = "person:"
"""Prefix of `asked_by` for what a person asked for. People are not held to the budget of the rules."""


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of each chain. A grid with all four upscales uses 4 submissions and depth 1.

    `depth`: how many presses may follow one another; `submissions`: all that rules and plugins may submit in a chain;
    `per_rule`: what one rule or plugin function may; `per_hour`: what all of them may submit at an upstream in an hour.
    """

    depth: int = 8
    submissions: int = 64
    per_rule: int = 32
    per_hour: int = 1000


def refusal(use: ChainUse, staged: Staged, budget: Budget) -> str:
    """Why this chain may not have this submission, or ""."""
    if staged.asked_by.startswith(BY_HAND):
        return ""
    if staged.depth > budget.depth:
        return f"depth {staged.depth} is over the chain's limit of {budget.depth}"
    if use.submissions >= budget.submissions:
        return f"the chain has made {use.submissions} submissions, its limit is {budget.submissions}"
    if use.by_same_receiver >= budget.per_rule:
        return (
            f"{staged.asked_by} has made {use.by_same_receiver} submissions, its limit is {budget.per_rule}"
        )
    if use.last_hour >= budget.per_hour:
        return f"{staged.upstream} was asked for {use.last_hour} submissions in an hour, its limit is {budget.per_hour}"
    return ""
