"""What rules and plugins may do by themselves: what people ask for is neither limited by it, nor counted."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

import pytest

from dispatcher.by_hand import commands
from dispatcher.policy.chain_budget import Budget, refusal
from dispatcher.policy.costs import sums
from midjourney.dialects import DIALECTS
from midjourney.requests import Imagine
from storage.clock import now_ms
from storage.engine import Connection
from storage.reading import ledger
from storage.records import ChainUse, StageResult
from storage.tasks import chains
from storage.tasks import rows as tasks
from tests.dispatcher.conftest import U
from tests.support.staged import wanted

TRUEAI = DIALECTS["trueai"]
PRESS = """
[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid"
press = "U*"
"""


def test_each_limit_allows_as_many_as_it_says() -> None:
    """No more, and no fewer: what is used up is less than the limit, and the depth at most the limit."""
    budget = Budget(depth=1, submissions=2, per_rule=2, per_hour=2)
    used, people = range(4), ["rule:r", "person:api"]
    for depth, submissions, by_one, last_hour, asked_by in product(used, used, used, used, people):
        use = ChainUse(submissions=submissions, by_same_receiver=by_one, last_hour=last_hour)
        reason = refusal(use, wanted("k", depth=depth, asked_by=asked_by), budget)
        allowed = depth <= 1 and submissions < 2 and by_one < 2 and last_hour < 2
        assert (reason == "") == (allowed or asked_by == "person:api"), (use, depth, reason)


def imagine(connection: Connection, prompt: str) -> StageResult:
    return commands.submit(
        connection, Imagine(prompt=prompt), upstream="main", dialect=TRUEAI, asked_by="api", now_ms=now_ms()
    )


def press(connection: Connection, label: str, task_id: str = "grid", again: int = 0) -> list[StageResult]:
    return commands.press(
        connection,
        task_id,
        label,
        upstream="main",
        dialect=TRUEAI,
        asked_by="api",
        now_ms=now_ms(),
        again=again,
    )


async def test_what_people_submit_in_an_hour_stops_no_rule(bench: Any) -> None:
    """Ten prompts by API, and a limit of three: the rule presses three buttons, and no fourth."""
    bench.rules(PRESS)
    bench.budget = Budget(per_hour=3)
    for number in range(10):
        await bench.database.write("imagine", partial(imagine, prompt=f"cat {number}"))
    await bench.start()
    await bench.callback()
    await bench.until_quiet()
    pressed = await bench.submissions(kind="action")
    assert sorted(one.state for one in pressed) == ["accepted"] * 3 + ["refused"]
    assert len(bench.upstream.received) == 13


async def test_what_was_refused_counts_for_no_hour(bench: Any) -> None:
    """Three chains that may press once each: of twelve presses nine are refused, and the hour has room for three."""
    bench.rules(PRESS)
    bench.budget = Budget(submissions=1, per_hour=3)
    await bench.start()
    for number in range(3):
        await bench.callback(f"grid-{number}")
        await bench.until_quiet()
    made = [one.state for one in await bench.submissions()]
    assert (made.count("accepted"), made.count("refused")) == (3, 9)


async def test_what_people_press_in_a_chain_stops_none_of_its_rules(bench: Any) -> None:
    """Five presses by hand, and a limit of three; the page shows what rules have used, and the chain all there is."""
    await bench.callback(
        buttons=[{"customId": f"MJ::JOB::variation::{n}::x", "label": f"V{n}"} for n in range(9)]
    )
    for number in range(5):
        await bench.database.write("press", partial(press, label=f"V{number}"))
    bench.rules(PRESS)
    bench.budget = Budget(submissions=3)
    await bench.start()
    await bench.callback(
        prompt="with its buttons", buttons=[{"customId": one, "label": f"U{n}"} for n, one in enumerate(U, 1)]
    )
    await bench.until_quiet()
    row = await bench.database.read(lambda c: tasks.find(c, "main", "grid"))
    found = await bench.database.read(lambda c: chains.find(c, row.chain_id))
    asked = [(one.asked_by, one.state) for one in await bench.submissions()]
    assert asked.count(("rule:upscale-all", "accepted")) == 3, asked
    assert asked.count(("rule:upscale-all", "refused")) == 1
    assert (found.submissions, found.automatic) == (8, 3)


async def test_a_press_by_hand_releases_what_the_budget_refused_a_rule(bench: Any) -> None:
    """The same submission goes, once; from then on it is the person's, and counts for no rule."""
    bench.rules(PRESS)
    bench.budget = Budget(submissions=3)
    await bench.start()
    await bench.callback()
    await bench.until_quiet()
    (refused,) = await bench.submissions(state="refused")
    first = (await bench.database.write("press", partial(press, label=refused.label)))[0]
    second = (await bench.database.write("press", partial(press, label=refused.label)))[0]
    assert (first.submission_id, first.released, second.released) == (refused.id, True, False)
    bench.database.wakeups.wake("submissions")
    await bench.until_states(*["accepted"] * 4)
    assert sorted(bench.upstream.pressed()) == sorted(U)
    (made,) = await bench.submissions(asked_by="person:api")
    assert made.id == refused.id
    found = await bench.database.read(lambda c: chains.find(c, refused.chain_id))
    assert (found.submissions, found.automatic) == (4, 3)


@pytest.mark.parametrize("state", ["refused", "rejected", "dead", "waiting", "needs_modal"])
async def test_nothing_is_saved_that_was_never_bought(bench: Any, state: str) -> None:
    """Asked for again and again while the budget refuses it, or after the upstream has: that saves nothing."""
    entry = ledger.Entry(
        id="s", chain_id="c", upstream="main", kind="imagine", label="imagine", request=b"{}", asked_by="rule:r",
        state=state, repeats=7, created_at_ms=1, failed=False,
    )  # fmt: skip
    prices = {"main": {"imagine": 0.5}}
    assert sums([entry], prices, "rule")["rule:r"].saved == 0


async def test_a_window_that_fails_after_its_answer_is_refunded(bench: Any) -> None:
    """The answer is what was paid for; the press that opened the window was free."""
    window = {"customId": "MJ::CustomZoom::x", "label": "Custom Zoom"}
    bench.rules(
        '[[rules]]\nname = "zoom"\non = "task.succeeded"\npress = "custom_zoom"\n'
        '[[rules]]\nname = "answer"\non = "submission.needs_modal"\nmodal = "x"'
    )
    bench.upstream.answer = lambda path, body: (
        (200, {"code": 21, "description": "窗口等待", "result": "w"})
        if path.endswith("action")
        else (200, {"code": 1, "description": "ok", "result": "w"})
    )
    await bench.start()
    await bench.callback("single", buttons=[window])
    await bench.until_states("needs_modal", "accepted")
    await bench.callback("w", status="FAILURE", action="ZOOM", buttons=[], failReason="banned")

    async def refunded() -> bool:
        entries = await bench.database.read(lambda c: list(ledger.entries(c, 0)))
        total = sums(entries, {"main": {"default": 0.25}}, "upstream")["main"]
        return (total.spent, total.refunded) == (0.25, 0.25)

    await bench.until(refunded)
