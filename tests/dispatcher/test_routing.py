"""Which account of a pool new work goes to."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.tickets.clients import Client, Pool
from dispatcher.tickets.routing import Account, mode_of, ordered, pool_of, reason

NAMES = ["a", "b", "c"]
ACCOUNTS = st.builds(Account, st.sampled_from(NAMES), st.booleans(), st.integers(-2, 5))


def of_all(accounts: list[Account]) -> list[Account]:
    return list({account.name: account for account in accounts}.values())


def first(pool: Pool, accounts: list[Account], mode: str = "", seed: int = 1) -> str:
    luck = random.Random(seed)
    return ordered(pool, accounts, mode, lambda: 1.0 - luck.random())[0]


@given(st.lists(ACCOUNTS, min_size=1).map(of_all), st.sampled_from(["order", "weight", "free"]))
def test_an_account_that_takes_work_goes_before_one_that_does_not(
    accounts: list[Account], order: str
) -> None:
    """Each account once; those with free places, then those that are busy, then those to which nothing is sent now."""
    pool = Pool(upstreams=NAMES, order=order)  # type: ignore[arg-type]  # drawn from its three values
    names = ordered(pool, accounts, "", lambda: 0.5)
    assert sorted(names) == sorted(account.name for account in accounts)
    by_name = {account.name: account for account in accounts}
    ranks = [(by_name[name].is_stopped, by_name[name].free <= 0) for name in names]
    assert ranks == sorted(ranks)


def test_by_order_the_first_that_is_free() -> None:
    pool = Pool(upstreams=["b", "a"])
    assert first(pool, [Account("a", free=9), Account("b", free=1)]) == "b"
    assert first(pool, [Account("a", free=9), Account("b", free=0)]) == "a"


def test_by_free_places_the_one_with_most() -> None:
    pool = Pool(upstreams=NAMES, order="free")
    assert first(pool, [Account("a", free=1), Account("b", free=3), Account("c", free=2)]) == "b"


def test_by_weight_as_often_as_the_weights_say() -> None:
    """Three to one; none for a weight of 0."""
    pool = Pool(upstreams=NAMES, order="weight", weights={"a": 3, "b": 1, "c": 0})
    accounts = [Account(name, free=1) for name in NAMES]
    chosen = [first(pool, accounts, seed=seed) for seed in range(2000)]
    assert "c" not in chosen
    assert 0.7 < chosen.count("a") / len(chosen) < 0.8


@pytest.mark.parametrize("written", ["relax", "RELAX", "mj-relax", " Mj-Relax "])
def test_a_mode_reaches_only_accounts_that_work_in_it(written: str) -> None:
    pool = Pool(upstreams=["a", "b", "c"], modes={"a": ["fast"], "b": ["mj-relax", "fast"]})
    accounts = [Account(name, free=1) for name in NAMES]
    assert ordered(pool, accounts, mode_of(written), lambda: 0.5) == ["b", "c"]
    only = Pool(upstreams=["a"], modes={"a": ["fast"]})
    assert ordered(only, [Account("a", free=1)], mode_of(written), lambda: 0.5) == []


def test_another_mode_only_if_the_operator_allows_it_and_nothing_is_free() -> None:
    accounts = [Account("a", free=0), Account("b", free=1)]
    modes = {"a": ["fast"], "b": ["relax"]}
    allowed = Pool(upstreams=["a", "b"], modes=modes, mode_fallback="relax")
    assert ordered(Pool(upstreams=["a", "b"], modes=modes), accounts, "fast", lambda: 0.5) == ["a"]
    assert ordered(allowed, accounts, "fast", lambda: 0.5) == ["b", "a"]
    assert ordered(allowed, [Account("a", free=1), Account("b", free=1)], "fast", lambda: 0.5) == ["a"]


def test_the_pool_of_a_client() -> None:
    """Named, listed, a single account, or all, "main" first."""
    pools = {"both": Pool(upstreams=["x", "y"], order="free")}
    upstreams = ["zeta", "alpha", "main"]
    assert pool_of(Client(name="ann", pool="both"), pools, upstreams) is pools["both"]
    assert pool_of(Client(name="ann", pool=["b", "a"]), pools, upstreams).upstreams == ["b", "a"]
    assert pool_of(Client(name="ann", pool="alpha"), pools, upstreams).upstreams == ["alpha"]
    assert pool_of(Client(name="ann"), pools, upstreams).upstreams == ["main", "alpha", "zeta"]


MEMBERS = ["main", "spare", "slow"]
ALL_OF_THEM = [Account(name, free=3) for name in MEMBERS]


@pytest.mark.parametrize(
    ("pool", "accounts", "mode", "expected"),
    [
        (Pool(upstreams=MEMBERS), ALL_OF_THEM, "", "the first of its pool"),
        (
            Pool(upstreams=MEMBERS),
            [Account("main", is_stopped=True, free=3), Account("spare", free=0), Account("slow", free=1)],
            "",
            "the first of its pool; main is paused, full or does not answer; spare has no free place",
        ),
        (
            Pool(upstreams=MEMBERS, modes={"main": ["fast"], "spare": ["Relax"]}),
            ALL_OF_THEM,
            "relax",
            "the first of its pool that works in mode relax; main does not work in mode relax",
        ),
        (
            Pool(upstreams=MEMBERS[:2], modes={"main": ["fast"], "spare": ["relax"]}, mode_fallback="relax"),
            [Account("main", is_stopped=True, free=3), Account("spare", free=3)],
            "fast",
            "the first of its pool that works in mode relax, because none takes mode fast now; "
            "main is paused, full or does not answer",
        ),
        (
            Pool(upstreams=MEMBERS, order="free"),
            [Account("main", free=1), Account("spare", free=2), Account("slow")],
            "",
            "the one with the most free places; slow has no free place",
        ),
        (
            Pool(upstreams=MEMBERS[:2], order="weight", weights={"main": 0}),
            ALL_OF_THEM[:2],
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
