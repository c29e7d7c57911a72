"""`[[budgets]]` as people meet them: in the file, in variables, at the command line, over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from dispatcher.policy.period_budgets import PeriodBudget
from hookchain.settings.load import SettingsError, load_settings
from tests.support import command

TOML = """
timezone = "Europe/Berlin"

[[rules]]
name = "upscale"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"

[[budgets]]
name = "pocket money"
per = "month"
spend = 0.08

[[budgets]]
per = "day"
by = "state"
submissions = 9

[upstreams.main]
url = "{url}"
prices = {{ imagine = 0.05, upscale = 0.01 }}
"""


@pytest.mark.parametrize(
    ("toml", "environment", "says"),
    [
        (
            'budgets = { per = "day" }',
            {},
            "hookchain.toml, [[budgets]]: write each budget as a table of its own",
        ),
        (
            '[[budgets]]\nper = "day"\nspent = 3',
            {},
            "[[budgets]] 1: unknown key 'spent'. Did you mean \"spend\"?",
        ),
        ('[[budgets]]\nper = "dya"\nspend = 3', {}, "[[budgets]] 1: per is 'dya'. Did you mean \"day\"?"),
        ("[[budgets]]\nspend = 3", {}, "[[budgets]] 1: `per` is missing"),
        ('[[budgets]]\nper = "day"\nby = "upstreams"\nspend = 3', {}, 'Did you mean "upstream"?'),
        (
            '[[budgets]]\nname = "b"\nper = "day"',
            {},
            "[[budgets]] 1 (b): write either `submissions` or `spend`",
        ),
        ('[[budgets]]\nper = "day"\nspend = 1\nsubmissions = 1', {}, "for both, write two budgets"),
        (
            '[[budgets]]\nper = "day"\nspend = -1',
            {},
            "[[budgets]] 1: spend is -1; it must be between 0 and",
        ),
        (
            '[[budgets]]\nper = "day"\nspend = nan',
            {},
            "[[budgets]] 1: spend is nan; it must be between 0 and",
        ),
        (
            '[[budgets]]\nper = "day"\nspend = "much"',
            {},
            "spend: expected a number or nothing, not a text in quotes",
        ),
        (2 * '[[budgets]]\nper = "day"\nspend = 1\n', {}, "2: another budget is also called 'spend per day'"),
        (
            'timezone = "Europe/Berln"',
            {},
            "hookchain.toml: timezone is 'Europe/Berln', an unknown time zone. Did you mean",
        ),
        ("", {"HOOKCHAIN_TIMEZONE": "CET+1"}, "HOOKCHAIN_TIMEZONE is 'CET+1', an unknown time zone."),
        ("", {"HOOKCHAIN_BUDGETS": "per=day, spent=5"}, "HOOKCHAIN_BUDGETS 1: unknown key 'spent'"),
        ("", {"HOOKCHAIN_BUDGETS": ";"}, "HOOKCHAIN_BUDGETS is ';'; write KEY=VALUE"),
        ("", {"HOOKCHAIN_BUDGETS": "per=day, spend=5; 3"}, "HOOKCHAIN_BUDGETS has '3'; write KEY=VALUE"),
        ("", {"HOOKCHAIN_BUDGETS": "per=day, spend=much"}, "spend, is 'much'; it must be a number"),
        (
            "",
            {"HOOKCHAIN_BUDGETS": "per=week, spend=1"},
            "HOOKCHAIN_BUDGETS, per, is 'week'. There are: day, hour, month.",
        ),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, toml: str, environment: dict[str, str], says: str) -> None:
    """What is wrong, where, and what to write instead."""
    (tmp_path / "hookchain.toml").write_text(toml)
    with pytest.raises(SettingsError) as raised:
        load_settings(environment, tmp_path)
    assert says in str(raised.value)


def test_budgets_can_be_set_by_a_variable_alone(tmp_path: Path) -> None:
    """Several, as lists of tables are written; they replace those of the file."""
    (tmp_path / "hookchain.toml").write_text('[[budgets]]\nper = "hour"\nsubmissions = 1\n')
    text = "per=day, spend=5, by=upstream; name=all, per=month, submissions=1000"
    settings = load_settings({"HOOKCHAIN_BUDGETS": text, "HOOKCHAIN_TIMEZONE": "Asia/Kolkata"}, tmp_path)
    assert settings.budgets == (
        PeriodBudget(per="day", by="upstream", spend=5.0),
        PeriodBudget(per="month", submissions=1000, name="all"),
    )
    assert settings.timezone == "Asia/Kolkata"
    assert load_settings({}, tmp_path).budgets == (PeriodBudget(per="hour", submissions=1),)


def test_a_missing_price_is_told_by_check_and_doctor(tmp_path: Path) -> None:
    """It is no free pass, and what is done about it is said before it happens."""
    (tmp_path / "hookchain.toml").write_text(
        '[[budgets]]\nper = "day"\nspend = 1\n\n[upstreams.main]\nurl = "http://127.0.0.1:9"\n'
    )
    checked = command.run(tmp_path, "rules", "check")
    assert (checked.returncode, "[upstreams.main] has no prices" in checked.stdout) == (0, True)
    told = command.run(tmp_path, "doctor")
    assert "! [upstreams.main] has no prices, and a budget limits spending" in told.stdout


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_chain_spends_what_the_budget_has_and_no_more(
    request: pytest.FixtureRequest,
    start_sandbox: Any,
    start_server: Any,
    eventually: Any,
    tmp_path: Path,
    kind: str,
) -> None:
    """0.05 for the picture, 0.01 for each of three upscales; the fourth, and the next prompt, are refused and say why."""
    variables = {"DATABASE_URL": request.getfixturevalue("postgres_url")} if kind == "postgres" else {}
    sandbox = start_sandbox("--speed", "40", "--seed", "5")
    server = start_server(toml=TOML.format(url=sandbox.url), **variables)
    server.submit(kind="imagine", prompt="a cat", extra={"state": "order-7"})
    eventually(lambda: len(server.get("/api/submissions?state=refused")["submissions"]) == 1)
    eventually(lambda: len(server.get("/api/tasks?status=SUCCESS")["tasks"]) == 4)
    assert sandbox.ledger()["billed"]["action"] == 3
    answer = httpx.post(f"{server.url}/api/submissions", json={"kind": "imagine", "prompt": "a dog"})
    assert (answer.status_code, answer.json()["submissions"][0]["state"]) == (429, "refused")
    assert "budget 'pocket money'" in answer.json()["detail"]
    assert "the next period begins at" in answer.json()["detail"]

    def run(*arguments: str) -> str:
        ran = command.run(tmp_path, *arguments, PORT=server.url.rsplit(":", 1)[-1], HOST="127.0.0.1")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    found = {(one["budget"], one["scope"]): one for one in json.loads(run("budgets", "--json"))}
    money = found["pocket money", ""]
    assert (money["used"], money["limit"], money["left"]) == (0.08, 0.08, 0)
    assert found["submissions per day by state", "state order-7"]["used"] == 4
    assert "0.08 of 0.08 spent, 0 left until" in run("budgets")
    assert "budget 'pocket money'" in run("refused", "list")
    (refused,) = [one for one in json.loads(run("refused", "list", "--json")) if one["kind"] == "action"]
    assert "budget 'pocket money'" in run("explain", refused["parent_id"])
    run("refused", "release", refused["id"])
    eventually(lambda: sandbox.ledger()["billed"]["action"] == 4)
    assert json.loads(run("budgets", "--json"))[0]["used"] == pytest.approx(0.09)
