"""Two rules that press one button: it is pressed once, and what is said about whose terms hold."""

from __future__ import annotations

from hookchain.testing import Hookchain, grid

RULE = '[[rules]]\nname = "{}"\non = "task.succeeded"\nif = "task.is_grid"\npress = "{}"\n'


def test_a_decision_says_who_had_asked_for_a_button_before(hookchain: Hookchain) -> None:
    """The earlier rule's terms hold: its delay, its `unless`, its approval."""
    hookchain.load_rules(
        RULE.format("a", "U1") + 'after = "10 min"\n' + RULE.format("b", "U*") + 'after = "1 h"\n'
    )
    asked = hookchain.succeed(grid())
    assert asked.decisions["rule:a"] == "asked for action U1"
    assert asked.decisions["rule:b"].endswith("; U1: already asked for by rule:a, whose terms hold")
    assert len(asked.pressed) == 4


def test_the_earlier_time_counts_and_is_named(hookchain: Hookchain) -> None:
    """It takes the other rule's terms with it."""
    hookchain.load_rules(RULE.format("a", "U1") + 'after = "10 min"\n' + RULE.format("b", "U1"))
    decisions = hookchain.succeed(grid()).decisions
    assert decisions["rule:b"] == (
        "asked for action U1; U1: already asked for by rule:a; it is sent at the earlier time, which is this one's"
    )


def test_what_was_refused_is_not_said_to_be_wanted(hookchain: Hookchain) -> None:
    """The budget had no room for the first one; a second request changes nothing."""
    hookchain.environment = {"HOOKCHAIN_BUDGET_SUBMISSIONS": "1"}
    hookchain.load_rules(RULE.format("a", "U1") + RULE.format("b", "U2") + RULE.format("c", "U2"))
    decisions = hookchain.succeed(grid()).decisions
    assert decisions["rule:c"].endswith("U2: already asked for by rule:b, and refused")
    assert "already" not in decisions["rule:a"]


def test_a_task_with_only_a_parent_is_a_persons_press(hookchain: Hookchain) -> None:
    """A relay names the picture and not the button. Our own press of it is none, whenever its task is heard of."""
    later = 'after = "10 min"\nunless = "chain.pressed_by_person"\n'
    hookchain.load_rules(
        RULE.format("later", "U1") + later + RULE.format("now", "V1") + 'once_per = "chain"\n'
    )
    (press, _) = sorted(hookchain.succeed(grid("g")).asks, key=lambda ask: ask.label, reverse=True)
    hookchain.succeed({"id": "own", "action": "VARIATION", "parentId": "g"}, of=press)
    assert [sent.label for sent in hookchain.wait("11 min").sent] == ["U1"]
    hookchain.succeed(grid("h"))
    hookchain.succeed({"id": "other", "action": "UPSCALE", "parentId": "h"})
    assert "U1" not in [sent.label for sent in hookchain.wait("11 min").sent]
