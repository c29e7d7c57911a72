"""What a relay knows of the tasks of its upstream, and when (new-api: `relay/relay-mj.go`, `controller/midjourney.go`)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.hook import Hook
from tests.support.sandbox_account import Account


@pytest.mark.parametrize("dialect", ["mj-plus", "new-api"])
def test_stale_news_come_every_15_seconds(dialect: str) -> None:
    """Submitted at second 12, under way at 15, done at 18, which is told at 30."""
    account = Account(dialect, faults="stale")
    account.let_pass(12_000)
    made = account.submit("imagine", prompt="a cat").result
    unasked = "" if dialect == "new-api" else "NOT_START"
    assert (account.shown(made).status, account.shown(made).progress) == (unasked, "0%")
    account.let_pass(2900)
    assert (account.task(made).status, account.shown(made).status) == ("IN_PROGRESS", unasked)
    account.let_pass(100)
    seen = account.shown(made)
    assert (seen.status, seen.progress) == ("IN_PROGRESS", account.task(made).progress)
    account.let_pass(14_900)
    assert (account.task(made).status, account.shown(made)) == ("SUCCESS", seen)
    account.let_pass(100)
    assert account.shown(made).status == "SUCCESS"
    assert account.shown(made).buttons == account.task(made).buttons


def test_the_clock_wakes_for_the_news() -> None:
    """Also when no task changes."""
    assert Account(faults="stale").engine.next_due_ms() == 15_000
    assert Account().engine.next_due_ms() is None


def test_new_api_refuses_a_press_until_it_has_the_news() -> None:
    """It looks at its own record of the parent: 4, task_status_not_success. Plus, behind some other relay, takes it."""
    codes = {}
    for dialect in ("new-api", "mj-plus"):
        account = Account(dialect, faults="stale")
        made = account.submit("imagine", prompt="a cat").result
        account.let_pass(7000)
        early = account.press(made, "U1")
        account.let_pass(8000)
        codes[dialect] = (early.code, early.description, account.press(made, "U2").code)
    assert codes["new-api"] == (4, "task_status_not_success", 1)
    assert codes["mj-plus"][::2] == (1, 1)


def test_a_submit_to_new_api_has_no_status_at_first(start_sandbox: Any, eventually: Any) -> None:
    """ "" for what is absent, 0 for times, null for buttons and properties; state and status come with the first news."""
    client = start_sandbox("--seed", "1", "--speed", "0.1", "--dialect", "new-api").http
    body = {"prompt": "a cat", "state": "mine"}
    made = client.post("/mj/submit/imagine", json=body).json()["result"]
    fresh = client.get(f"/mj/task/{made}/fetch").json()
    assert (fresh["status"], fresh["progress"], fresh["state"], fresh["promptEn"]) == ("", "0%", "", "")
    assert (fresh["startTime"], fresh["finishTime"], fresh["imageUrl"]) == (0, 0, "")
    assert (fresh["buttons"], fresh["properties"], fresh["description"]) == (None, None, "Submit success")
    assert client.post("/mj/task/list-by-condition", json={"ids": [made]}).json() == [fresh]
    later = eventually(lambda: (task := client.get(f"/mj/task/{made}/fetch").json())["status"] and task)
    assert (later["status"], later["state"]) == ("IN_PROGRESS", "mine")


def test_a_failure_at_new_api_is_at_100_percent(start_sandbox: Any, eventually: Any) -> None:
    """Clients of relays stop asking at 100%."""
    client = start_sandbox("--seed", "1", "--speed", "50", "--dialect", "new-api").http
    made = client.post("/mj/submit/imagine", json={"prompt": "a cat --fail"}).json()["result"]
    failed = eventually(
        lambda: (task := client.get(f"/mj/task/{made}/fetch").json())["status"] == "FAILURE" and task
    )
    assert (failed["progress"], failed["failReason"][:19]) == ("100%", "[Invalid parameter]")


def test_stale(start_sandbox: Any, hook: Hook, eventually: Any) -> None:
    """A fetch has at most the submit, one state on the way, and the end. All callbacks are sent as without the fault."""
    sandbox = start_sandbox("--seed", "2", "--speed", "5", "--faults", "stale")
    body = {"prompt": "a cat", "notifyHook": hook.url}
    made = sandbox.http.post("/mj/submit/imagine", json=body).json()["result"]
    told: list[tuple[str, str]] = []

    def ended() -> bool:
        task = sandbox.http.get(f"/mj/task/{made}/fetch").json()
        told.append((task["status"], task["progress"]))
        return bool(task["status"] == "SUCCESS")

    eventually(ended)
    assert len(set(told)) <= 3
    eventually(lambda: len(hook.bodies) == 11)
