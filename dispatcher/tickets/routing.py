"""Which account of a pool gets new work, and when an order may move to another one. Pure.

What is about a task always goes to the account that has the task. An order moves only while its account certainly has nothing:
a request that may have arrived is never sent to a second account.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from dispatcher.tickets.clients import Client, Pool
from midjourney.codes import Outcome, Refusal
from storage.records import BY_CLIENT, Submission
from storage.submissions.settlements import Settlement

_NOTHING_THERE = frozenset(
    {"not_sent", f"{Outcome.REJECTED}:{Refusal.AUTH}", f"{Outcome.REJECTED}:{Refusal.QUEUE_FULL}"}
)
_NO_ACCOUNT_CODES = frozenset({3, 9})
"""Codes by which a proxy says that it has no account to do a new order: it made no task."""


class Account(msgspec.Struct, frozen=True):
    """An account now: whether nothing is sent to it (it is paused, its queue is full, its breaker is open), and its free places."""

    name: str
    is_stopped: bool = False
    free: int = 0


def pool_of(client: Client, pools: Mapping[str, Pool], upstreams: Sequence[str]) -> Pool:
    """The pool of a client. Without one it may use all upstreams, "main" first."""
    if isinstance(client.pool, list):
        return Pool(upstreams=client.pool)
    if client.pool in pools:
        return pools[client.pool]
    if client.pool:
        return Pool(upstreams=[client.pool])
    return Pool(upstreams=sorted(upstreams, key=lambda name: (name != "main", name)))


def mode_of(written: str) -> str:
    """The mode that a path or a body asks for: "mj-fast", "FAST" and "fast" are one."""
    return written.strip().lower().removeprefix("mj-")


def serves(pool: Pool, name: str, mode: str) -> bool:
    """True if an account of a pool works in a mode."""
    modes = pool.modes.get(name)
    return not mode or modes is None or mode in [mode_of(one) for one in modes]


def ordered(pool: Pool, accounts: Sequence[Account], mode: str, luck: Callable[[], float]) -> list[str]:
    """The accounts that may do new work in a mode, the best first. `luck` returns a random number in (0, 1)."""
    fitting = [account for account in accounts if serves(pool, account.name, mode)]
    if pool.mode_fallback and all(account.is_stopped or account.free <= 0 for account in fitting):
        others = [account for account in accounts if serves(pool, account.name, mode_of(pool.mode_fallback))]
        fitting += [account for account in others if account not in fitting]
    willing = [account for account in fitting if pool.weights.get(account.name, 1) > 0] or fitting
    listed = {name: number for number, name in enumerate(pool.upstreams)}

    def rank(account: Account) -> tuple[bool, bool, float, int]:
        place = listed.get(account.name, len(listed))
        if pool.order == "free":
            preference = -float(account.free)
        elif pool.order == "weight":
            # The account with the smallest exponential time comes first, which is as likely as its weight says.
            preference = -math.log(luck()) / (pool.weights.get(account.name, 1) or 1e-9)
        else:
            preference = 0.0
        return account.is_stopped, account.free <= 0, preference, place

    return [account.name for account in sorted(willing, key=rank)]


def reason(pool: Pool, accounts: Sequence[Account], mode: str, chosen: str) -> str:
    """Why new work in a mode goes to an account of a pool and not to those listed before it, as a sentence for people."""
    how = {
        "order": "the first of its pool",
        "weight": "drawn by weight",
        "free": "the one with the most free places",
    }
    why = how[pool.order] + (f" that works in mode {mode}" if mode and serves(pool, chosen, mode) else "")
    if mode and not serves(pool, chosen, mode):
        why += f" that works in mode {mode_of(pool.mode_fallback)}, because none takes mode {mode} now"
    before = [account for account in accounts if _is_before(pool, account.name, chosen)]
    passed = [said for account in before if (said := _passed_over(pool, account, mode))]
    return "; ".join([why, *passed])


def _is_before(pool: Pool, name: str, chosen: str) -> bool:
    """True if an account would have been chosen if the order of the pool alone decided."""
    if name == chosen:
        return False
    return pool.order != "order" or pool.upstreams.index(name) < pool.upstreams.index(chosen)


def _passed_over(pool: Pool, account: Account, mode: str) -> str:
    """Why an account gets no new work now, or ""."""
    if not serves(pool, account.name, mode):
        return f"{account.name} does not work in mode {mode}"
    if pool.weights.get(account.name, 1) <= 0:
        return f"{account.name} has weight 0"
    if account.is_stopped:
        return f"{account.name} is paused, full or does not answer"
    return f"{account.name} has no free place" if account.free <= 0 else ""


def client_of(submission: Submission) -> str:
    """The client that ordered a submission, or ""."""
    return submission.asked_by.removeprefix(BY_CLIENT) if submission.asked_by.startswith(BY_CLIENT) else ""


def may_move(submission: Submission, settlement: Settlement) -> bool:
    """True if this attempt at a new order left certainly nothing at its account, so that another account may do it."""
    if not client_of(submission) or submission.parent_id:
        return False
    if settlement.outcome in _NOTHING_THERE:
        return True
    return settlement.outcome.startswith(Outcome.REJECTED) and settlement.code in _NO_ACCOUNT_CODES
