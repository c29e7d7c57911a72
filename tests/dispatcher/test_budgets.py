"""`[[budgets]]`: hours, days and months, what a submission counts as, and a chain that meets a limit."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.by_hand import commands
from dispatcher.policy.period_budgets import Budgets, PeriodBudget, price_warnings
from dispatcher.policy.periods import Per, period_of
from midjourney.dialects import DIALECTS
from midjourney.requests import Imagine, encode_request
from storage.budgets import counters
from storage.budgets.billing import Bill
from storage.clock import now_ms
from storage.engine import Connection
from storage.reading import explanation
from storage.records import StageResult

UTC = ZoneInfo("UTC")
PRESS = """
[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"
"""
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "America/St_Johns")


@given(
    st.sampled_from(["hour", "day", "month"]),
    st.integers(1_500_000_000_000, 2_000_000_000_000),
    st.sampled_from(ZONES),
)
def test_a_period_is_the_same_until_it_ends_and_another_from_then_on(per: Per, at_ms: int, zone: str) -> None:
    """Wherever the clocks are changed."""
    period = period_of(per, at_ms, ZoneInfo(zone))
    assert at_ms < period.ends_at_ms <= at_ms + {"hour": 1, "day": 25, "month": 31 * 24 + 1}[per] * 3_600_000
    assert period_of(per, period.ends_at_ms - 1, ZoneInfo(zone)) == period
    following = period_of(per, period.ends_at_ms, ZoneInfo(zone))
    assert following.name > period.name or per == "hour"
    assert following.name != period.name


def test_a_day_begins_at_midnight_in_its_zone() -> None:
    """And has 25 hours where the clocks are put back; each hour of them is its own."""
    berlin = ZoneInfo("Europe/Berlin")
    at_ms = int(1000 * datetime(2026, 10, 25, 2, 30, tzinfo=berlin).timestamp())
    assert period_of("day", at_ms, berlin).name == "2026-10-25"
    assert period_of("month", at_ms, berlin).name == "2026-10"
    twice = [period_of("hour", at_ms + hour * 3_600_000, berlin).name for hour in (0, 1)]
    assert twice == ["2026-10-25 02:00+0200", "2026-10-25 02:00+0100"]
    assert (
        period_of("day", at_ms, berlin).ends_at_ms - period_of("day", at_ms - 86_400_000, berlin).ends_at_ms
        == 25 * 3_600_000
    )


def bill(**fields: Any) -> Bill:
    known = {"upstream": "main", "kind": "imagine", "request": encode_request(Imagine(prompt="x"))}
    known |= {"asked_by": "rule:r", "chain_id": "c", "client": "", "state": ""}
    return Bill(**known | fields)


@pytest.mark.parametrize(
    ("prices", "micros", "impossible"),
    [
        ({"imagine": 0.05, "upscale": 0.2}, 50_000, False),
        ({"upscale": 0.2, "default": 0.01}, 10_000, False),
        ({"upscale": 0.2, "describe": 0.01}, 200_000, False),
        ({"imagine": 0.0, "upscale": 0.2}, 200_000, False),
        ({"imagine": 1e-9}, 1, False),
        ({"imagine": 0.0}, 0, True),
        ({}, 0, True),
    ],
)
def test_what_has_no_price_is_not_free(prices: dict[str, float], micros: int, impossible: bool) -> None:
    """It counts as the highest price of its upstream; without any, it cannot be counted, and is refused."""
    plan = Budgets([PeriodBudget(per="day", spend=1)], UTC, {"main": prices})
    (claim,) = plan.claims(bill(), 0)
    assert (claim.charge.micros, bool(claim.impossible)) == (micros, impossible)


@pytest.mark.parametrize(
    ("prices", "says"),
    [
        ({"default": 0.1}, ""),
        ({}, "has no prices"),
        ({"imagine": 0.1}, "no default. Budgets count such a submission as 0.1"),
        ({"imagine": 0.1, "describe": 0, "default": 0.01}, "the price of describe is 0"),
    ],
)
def test_missing_prices_are_warned_of(prices: dict[str, float], says: str) -> None:
    """Where money is limited, and only there."""
    told = price_warnings([PeriodBudget(per="day", spend=1)], {"main": prices})
    assert (says in "".join(told)) if says else told == []
    assert price_warnings([PeriodBudget(per="day", submissions=1)], {"main": prices}) == []


def test_a_person_is_no_rule() -> None:
    """By rule, what people ask for counts nowhere; by all else it does."""
    plan = Budgets(
        [PeriodBudget(per="day", by="rule", submissions=1), PeriodBudget(per="day", submissions=1)], UTC, {}
    )
    assert [one.charge.scope for one in plan.claims(bill(asked_by="person:api"), 0)] == [""]
    assert {one.charge.scope for one in plan.claims(bill(), 0)} == {"rule r", ""}


def imagine(connection: Connection, prompt: str) -> StageResult:
    return commands.submit(
        connection,
        Imagine(prompt=prompt),
        upstream="main",
        dialect=DIALECTS["trueai"],
        asked_by="api",
        now_ms=now_ms(),
    )


async def test_rules_and_people_spend_from_one_budget_and_not_a_cent_more(bench: Any) -> None:
    """0.3 at 0.1 each: three presses of a rule, and none by hand; what was refused goes when a failure gives money back."""
    bench.database.charge_by(
        Budgets([PeriodBudget(per="month", spend=0.3, name="pocket money")], UTC, {"main": {"default": 0.1}})
    )
    bench.rules(PRESS)
    await bench.start()
    await bench.callback()
    made = await bench.until_states(*["accepted"] * 3, "refused")
    by_hand = await bench.database.write("imagine", partial(imagine, prompt="a dog"))
    assert "budget 'pocket money'" in by_hand.refused
    assert "0.3 of 0.3 is spent, and this costs 0.1; the next period begins at" in by_hand.refused
    assert len(bench.upstream.received) == 3
    story = await bench.database.read(lambda c: explanation.explained(c, "main", "grid"))
    assert any("pocket money" in one.reason for one in story.asked_for), "explain says which budget"
    failed = next(one for one in made if one.state == "accepted")
    await bench.callback(failed.task_ids[0], status="FAILURE", buttons=[], failReason="banned")

    async def room() -> bool:
        (left,) = bench.database.plan.standing(
            await bench.database.read(lambda c: counters.used(c, now_ms())), now_ms()
        )
        return bool(left.left == pytest.approx(0.1))

    await bench.until(room)
    await bench.until_quiet()
    assert len(bench.upstream.received) == 3, "nothing goes by itself"
    again = await bench.database.write("imagine", partial(imagine, prompt="a dog"))
    assert again.created
    bench.database.wakeups.wake("submissions")
    await bench.until_states(*["accepted"] * 4, *["refused"] * 2)
    assert len(bench.upstream.received) == 4


async def test_a_failure_that_only_a_callback_tells_gives_nothing_back(bench: Any) -> None:
    """Whoever knows a hook could else open the budget; the upstream says that it runs, and then that it succeeded."""
    bench.database.charge_by(Budgets([PeriodBudget(per="day", submissions=9)], UTC, {}))
    bench.rules(PRESS.replace("U*", "U1"))
    await bench.start()
    await bench.callback()
    (made,) = await bench.until_states("accepted")
    task_id = made.task_ids[0]
    await bench.callback(task_id, status="IN_PROGRESS", progress="10%", buttons=[])
    await bench.callback(task_id, forged=True, status="FAILURE", buttons=[])
    await bench.callback(task_id, status="SUCCESS", action="UPSCALE", buttons=[])
    await bench.until_quiet()
    (used,) = await bench.database.read(lambda c: counters.used(c, now_ms()))
    assert used.submissions == 1


@pytest.mark.parametrize(
    ("asked_by", "counts"),
    [
        ("person:client shop", True),
        ("person:client shop2", False),
        ("person:page", False),
        ("rule:upscale", False),
    ],
)
def test_a_budget_of_a_client_counts_what_it_asks_for_itself(asked_by: str, counts: bool) -> None:
    """Not what rules and people add to its chains, nor another client's."""
    plan = Budgets([PeriodBudget(per="day", client="shop", submissions=1)], UTC, {})
    one = Bill(
        upstream="main",
        kind="imagine",
        request=b"{}",
        asked_by=asked_by,
        chain_id="c",
        client="shop",
        state="",
    )
    assert [claim.charge.budget for claim in plan.claims(one, 0)] == [
        "submissions per day of client shop"
    ] * counts
