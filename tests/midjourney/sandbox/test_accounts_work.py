"""What an account does with its places and its time, as the source of the real servers says."""

from __future__ import annotations

import pytest

from midjourney.sandbox.faults import Faults, parse
from tests.support.sandbox_account import Account

NOW_MS = 1_800_000_000_000
FIVE_MINUTES_MS = 300_000


@pytest.mark.parametrize("dialect", ["mj-plus", "novicezk", "trueai"])
def test_22_only_when_others_wait(dialect: str) -> None:
    """Two run, the first that waits is told 1, the others how many were there before them (`currentWaitNumbers`)."""
    account = Account(dialect, places=2, queue=4)
    answers = [account.submit("imagine", prompt="a cat") for _ in range(6)]
    assert [answer.code for answer in answers] == [1, 1, 1, 22, 22, 22]
    assert [answer.properties.get("numberOfQueues") for answer in answers] == [None, None, None, 1, 2, 3]
    assert account.task(answers[2].result).status == "NOT_START"


def test_the_queue_holds_what_waits_and_what_runs() -> None:
    """Oldest first, without a window that nobody has answered, and without what has ended."""
    account = Account(places=1, queue=5)
    first = account.submit("imagine", prompt="a cat").result
    account.let_pass(6100)
    upscale = account.press(first, "U1").result
    account.let_pass(1000)
    window = account.press(upscale, "Custom Zoom")
    ids = []
    for _ in range(3):
        account.now_ms += 1000
        ids.append(account.submit("imagine", prompt="a dog").result)
    account.let_pass(500)
    assert window.code == 21
    assert [job.task.id for job in account.engine.unfinished()] == ids
    assert [job.task.status for job in account.engine.unfinished()] == [
        "IN_PROGRESS",
        "NOT_START",
        "NOT_START",
    ]


@pytest.mark.parametrize("seed", [1, None])
def test_the_times_of_a_task_agree(seed: int | None) -> None:
    """Submitted, then started, then finished, on one clock, also where a seed makes the ids: a client subtracts them."""
    account = Account(seed=seed, now_ms=NOW_MS, places=1)
    first, second = (account.submit("imagine", prompt="a cat").result for _ in range(2))
    account.let_pass(12_500)
    one, other = account.task(first), account.task(second)
    assert (one.submit_time, one.start_time, one.finish_time) == (NOW_MS, NOW_MS, NOW_MS + 6000)
    assert other.submit_time == NOW_MS
    assert other.start_time == NOW_MS + 6000
    assert other.finish_time == NOW_MS + 12_000


@pytest.mark.parametrize(
    ("dialect", "path", "reason"),
    [
        ("mj-plus", "action", "任务超时"),
        ("mj-plus", "change", "任务超时"),
        ("novicezk", "change", "任务超时"),
        ("trueai", "action", "执行超时 5 分钟"),
    ],
)
def test_a_repeated_button_fails_after_five_minutes(dialect: str, path: str, reason: str) -> None:
    """Accepted, billed, and under way in a place of its own until it is given up; the first one is unharmed."""
    account = Account(dialect, places=1, queue=0)
    grid = account.submit("imagine", prompt="a cat").result
    account.let_pass(6100)

    def press() -> object:
        if path == "action":
            return account.press(grid, "U2").result
        return account.submit("change", task_id=grid, action="UPSCALE", index=2).result

    first = press()
    account.let_pass(1000)
    again = press()
    was_full = account.engine.is_full
    account.let_pass(FIVE_MINUTES_MS - 100)
    assert account.task(again).status == "SUBMITTED"
    account.let_pass(100)
    assert (account.task(again).status, account.task(again).fail_reason) == ("FAILURE", reason)
    assert account.task(first).status == "SUCCESS"
    assert (was_full, account.engine.is_full) == (True, False)
    assert account.engine.ledger.billed["action" if path == "action" else "change"] == 2


def test_a_press_that_was_refused_may_be_repeated_once() -> None:
    """Midjourney has not seen the first, answers the second, and is silent at the third."""
    account = Account(places=2)
    grid = account.submit("imagine", prompt="a cat").result
    account.let_pass(6100)
    account.engine.faults = parse("blocked", 1)
    refused = account.press(grid, "U1").result
    account.let_pass(500)
    account.engine.faults = Faults()
    answered = account.press(grid, "U1").result
    account.let_pass(1000)
    silent = account.press(grid, "U1").result
    account.let_pass(1000)
    presses = [account.task(press).status for press in (refused, answered, silent)]
    assert presses == ["FAILURE", "SUCCESS", "SUBMITTED"]


def test_another_image_of_the_grid_is_no_repetition() -> None:
    """And neither is a second variation."""
    account = Account(places=3)
    grid = account.submit("imagine", prompt="a cat").result
    account.let_pass(6100)
    presses = [account.press(grid, label).result for label in ("U1", "U2")]
    account.let_pass(1000)
    presses += [account.press(grid, "V1").result for _ in range(2)]
    account.let_pass(7000)
    assert [account.task(press).status for press in presses] == ["SUCCESS"] * 4


def test_faults_of_upscales_pass_a_repeated_press_by() -> None:
    """With `silent` it does not finish within its submit; with `swap` nobody gets its image."""
    account = Account(places=2, faults="silent,swap")
    grid = account.submit("imagine", prompt="a cat").result
    account.let_pass(6100)
    account.press(grid, "U1")
    again = account.press(grid, "U1").result
    assert account.task(again).status == "SUBMITTED"
    account.engine.faults = parse("swap", 1)
    other = account.press(grid, "U2").result
    account.let_pass(1000)
    assert "Image #2" in str(account.task(other).properties["messageContent"])


def test_a_cancelled_task_of_trueai_is_a_failure() -> None:
    """取消任务 is its reason; Plus has the status CANCEL."""
    for dialect, status in (("trueai", "FAILURE"), ("mj-plus", "CANCEL")):
        account = Account(dialect)
        made = str(account.submit("imagine", prompt="a cat").result)
        account.engine.cancel(made, 100)
        assert account.task(made).status == status
        assert account.engine.unfinished() == []
