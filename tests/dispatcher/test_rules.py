"""Rules: what they may say, and what a mistake is answered."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from dispatcher.plugins.errors import RuleError
from dispatcher.plugins.receivers import options_of
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.load import load_rules
from dispatcher.rules.receiver import receivers_of
from hookchain.rules import rules_of
from hookchain.settings.load import load_settings

ROOT = Path(__file__).parent.parent.parent


def load(text: str) -> list[CompiledRule]:
    return load_rules(tomllib.loads(text)["rules"], file="rules.toml", text=text)


RULE = """# a comment

[[rules]]
name = "first"
on = "task.succeeded"
press = "U1"

[[rules]]
name = "second"
on = "task.succeeded"
{}
"""


WRONG = [
    one.split("\n\n-> ")
    for one in (Path(__file__).parent / "wrong_rules.txt").read_text().split("-" * 20 + "\n")
    if one.strip()
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message[:60] for _, message in WRONG])
def test_a_mistake_names_file_line_rule_key_and_what_to_write(text: str, message: str) -> None:
    """Word for word as the server prints it when it does not start; wrong_rules.txt has the files and the words."""
    with pytest.raises(RuleError) as raised:
        load_rules(
            tomllib.loads(text)["rules"],
            file="rules.toml",
            text=text,
            directory=Path("/nowhere"),
            upstreams=["main", "second"],
        )
    assert str(raised.value) == message.strip()


def test_there_are_many_ways_to_be_wrong() -> None:
    """The table has not shrunk."""
    assert len(WRONG) >= 40


def test_the_line_is_that_of_the_key_in_the_rule_that_is_wrong() -> None:
    """Comments and other rules before it count."""
    with pytest.raises(RuleError, match=r"^rules.toml:11, rule \"second\", key 'pres': unknown key"):
        load(RULE.format('pres = "U*"'))


def test_two_rules_of_one_name_are_refused() -> None:
    """Their deliveries could not be told apart."""
    with pytest.raises(RuleError, match=r"another rule has this name, at rules\.toml:3\. Rename one"):
        load(RULE.format('press = "U2"').replace("second", "first"))


SHIPPED = [ROOT / "hookchain.toml", *sorted((ROOT / "examples").glob("*.toml"))]


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_the_shipped_rules_load(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's own file, and the examples, with the variables that they speak of."""
    monkeypatch.setenv("FORWARD_URL", "https://other.example.com/in")
    monkeypatch.setenv("FORWARD_SECRET", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3")
    monkeypatch.setenv("NOTIFY_TO", "json://127.0.0.1")
    assert rules_of(load_settings({"HOOKCHAIN_CONFIG": str(path)}))


def test_a_rule_cannot_reach_into_python() -> None:
    """The sandbox refuses what begins with an underscore."""
    with pytest.raises(RuleError):
        load(RULE.format('if = "task.__class__"\npress = "U1"'))


def test_few_pictures_are_held_at_once() -> None:
    """Each may have 50 MB; sixteen at a time of 700 kB took the server 345 MB."""
    [rule] = load(
        """[[rules]]
        name = "keep"
        on = "task.succeeded"
        archive = "pictures"
        split_grid = "quarters"
        notify = "json://127.0.0.1:9" """
    )
    found = [options_of(function) for _, function in receivers_of(rule)]
    at_once = {options.name: options.concurrency for options in found}
    assert at_once == {"rule:keep/archive": 4, "rule:keep/split_grid": 2, "rule:keep/notify": 16}
