"""Rules: what they may say, and what a mistake is answered."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from dispatcher.errors import RuleError
from dispatcher.rules.load import CompiledRule, load_rules

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


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            'pres = "U*"',
            "rules.toml:11, rule \"second\", key 'pres': unknown key 'pres'. Did you mean \"press\"?",
        ),
        ("press = 3", "rules.toml:11, rule \"second\", key 'press': Expected"),
        ('modal = { promt = "x" }', "unknown key 'promt' in modal. Did you mean \"prompt\"?"),
        ('if = "task.is_gird"\npress = "U1"', "'task' has no field 'is_gird'. Did you mean 'is_grid'?"),
        ('if = "tsk.is_grid"\npress = "U1"', "unknown name 'tsk'. Did you mean 'task'?"),
        ('if = "task.is_grid and"\npress = "U1"', "key 'if'"),
        ('if = "task.prompt | uper"\npress = "U1"', "uper"),
        ('imagine = "{{ task.prompt"', "key 'imagine'"),
        ('modal = { prompt = "x" }', "on 'submission.needs_modal' only"),
        ("", "it does nothing"),
    ],
)
def test_a_mistake_names_file_line_rule_key_and_what_was_meant(line: str, says: str) -> None:
    """As the server prints it when it does not start."""
    with pytest.raises(RuleError) as raised:
        load(RULE.format(line))
    assert says in str(raised.value)
    assert str(raised.value).startswith("rules.toml:")


def test_an_unknown_signal_names_the_nearest() -> None:
    """And a rule without one, or without a name, says so."""
    with pytest.raises(RuleError) as raised:
        load('[[rules]]\nname = "x"\non = "task.suceeded"\npress = "U1"')
    assert "unknown signal 'task.suceeded'. Did you mean \"task.succeeded\"?" in str(raised.value)
    with pytest.raises(RuleError, match="'on' is missing"):
        load('[[rules]]\nname = "x"\npress = "U1"')
    with pytest.raises(RuleError, match=r"no\. 1"):
        load('[[rules]]\non = "task.failed"\npress = "U1"')


def test_two_rules_of_one_name_are_refused() -> None:
    """Their deliveries could not be told apart."""
    with pytest.raises(RuleError, match="two rules are named 'first'"):
        load(RULE.format('press = "U2"').replace("second", "first"))


def test_the_shipped_rules_load() -> None:
    """The project's own file, and the examples."""
    for path in (ROOT / "hookchain.toml", *(ROOT / "examples").glob("*.toml")):
        assert load(path.read_text())


def test_a_rule_cannot_reach_into_python() -> None:
    """The sandbox refuses what begins with an underscore."""
    with pytest.raises(RuleError):
        load(RULE.format('if = "task.__class__"\npress = "U1"'))
