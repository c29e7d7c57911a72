"""Warnings about rules: what must give none, and how conditions are worked out. wrong_rules.txt has what gives one, word for word."""

from __future__ import annotations

import tomllib

import pytest

from dispatcher.plugins.signals import SIGNALS
from dispatcher.rules.compile import RuleContext
from dispatcher.rules.lint.caution import Caution
from dispatcher.rules.lint.logic import LARGE, UNKNOWN, Domain, outcomes
from dispatcher.rules.lint.warnings import warnings_of
from dispatcher.rules.model import ForwardTo, ImagineWith, ModalAnswer, NotifyTo, Rule
from dispatcher.rules.sandbox import parsed
from dispatcher.rules.sources import Source, find_in


def rule(on: str = "task.succeeded", when: str = "", **keys: object) -> Rule:
    """A rule of these keys; it presses U1 if it would do nothing else."""
    return Rule(name="r", on=on, when=when, **(keys or {"press": "U1"}))  # type: ignore[arg-type]  # any keys


def found(one: Rule) -> list[tuple[str, str]]:
    """The kinds and keys of its warnings."""
    return [(caution.kind, caution.key) for caution in warnings_of(one)]


@pytest.mark.parametrize(
    "when",
    [
        "task.is_grid and chain.depth == 0",
        "task.action == 'UPSCALE'",
        "task.action | lower == 'upscale'",
        "task.action in ['IMAGINE', 'BLEND', 'A_NEW_ACTION_OF_A_VENDOR']",
        "'cat' in task.prompt | lower and task.is_grid",
        "'16:9' in task.prompt",
        "task.state == '5'",
        "task.progress is not none and task.progress > 50",
        "task.progress is number and task.progress > 50",
        "task.progress and task.progress > 50",
        "task.progress | default(0, true) > 50",
        "task.progress == 100 and chain.depth < 3",
        "task.image_number == 2",
        "task.image_number in [1, 3]",
        "task.extra.seed is defined and task.extra.seed > 5",
        "task.extra.seed == '12'",
        "submission.kind == 'imagine' and submission.asked_by == 'person:api'",
        "not submission.id",
        "submission.depth == 0 and submission.priority < 0",
        "chain.depth in [0, 1] or chain.submissions < 10",
        "0 < chain.depth <= 3",
        "chain.upstream == 'main' and event.source != 'replay'",
        "task.prompt | length < 16000",
        "(task.finish_time_ms or 0) - (task.start_time_ms or 0) > 60000",
        "task.buttons | selectattr('kind', 'equalto', 'upscale') | list | length == 4",
        "task.properties.remix == true",
        "task.properties.remix == 1",
        "task.prompt == task.prompt_en",
        "task.prompt > 'm'",
        "task.status == 'SUCCESS' and task.is_grid",
        "task.unread_buttons == '' and task.is_grid",
    ],
)
def test_what_people_write_gives_no_warning(when: str) -> None:
    """A false alarm teaches to overlook the next one. New words of vendors, extra fields and searches may be anything."""
    assert warnings_of(rule(when=when, press="U1", limit=1)) == []


@pytest.mark.parametrize(
    "one",
    [
        rule(press=["U1", "V*", "u3", "V[12]", "Upscale (Subtle)", "🔄", "custom_zoom", "MJ::JOB::upsample::9::x"], limit=1),
        rule(press=["放大第一张", "upsample1::x", "Upscale*", "A new button*", "Zoom Out 2x", "❤️"], limit=1),
        rule("task.progressed", press="cancel"),
        rule("task.progressed", "task.progress > 50", cancel=True),
        rule(when="chain.depth == 0", imagine="{{ task.prompt }} --ar 3:2"),
        rule(imagine="{{ task.prompt }} --ar 3:2", limit=2),
        rule(imagine="{{ task.prompt }} --ar 3:2", once_per="chain"),
        rule(when="task.action == 'DESCRIBE'", imagine="{{ task.prompt }}"),
        rule(when="chain.submissions < 5", imagine="{{ task.prompt }}"),
        rule(when="task.action == 'UPSCALE'", describe="{{ task.image_url }}"),
        rule(when="'--hd' not in task.prompt", imagine="{{ task.prompt }} --hd"),
        rule(when="task.is_grid and chain.depth == 0", press="V1"),
        rule(when="task.is_grid", press="V1", once_per="root"),
        rule(when="task.action == 'IMAGINE'", press="V1"),
        rule(press="U*"),
        rule(when="task.action == 'UPSCALE'", zoom=2.0),
        rule("task.failed", repeat=True, limit=2),
        rule("task.failed", repeat=True, once_per="chain"),
        rule("task.failed", "chain.submissions < 4", repeat=True),
        rule("task.failed", "task.failure_kind == 'moderation' and chain.depth == 0", imagine="a cat", limit=1),
        rule("submission.existed", press="U1"),
        rule(when="chain.depth == 1", press="custom_zoom", modal="{{ modal.prompt }} --zoom 1.8"),
        rule(when="chain.depth == 1", press="vary_strong", modal="a hat"),
        rule(when="chain.depth == 1", zoom="custom", modal="a hat"),
        rule(when="chain.depth == 1", vary="region", modal=ModalAnswer(prompt="a hat", mask="center")),
        rule("submission.needs_modal", modal="{{ modal.prompt }}"),
        rule(limit=1, imagine=ImagineWith(prompt="{{ task.prompt }}", images=["{{ task.image_url }}"])),
        rule(limit=1, imagine="a cat, {{ task.prompt }} {red|blue} $5 --ar 3:2"),
        rule(limit=1, imagine="mail cat@task.example and see example.com/task.prompt"),
        rule(forward=ForwardTo(url="https://hooks.example.com/{{ task.id }}")),
        rule(notify=NotifyTo(to="json://127.0.0.1", text="{{ task.prompt }}: {{ task.image_url }}")),
        rule(archive="pictures", once_per="task"),
        rule(press="U1", after="10 min", priority=5, state="of {{ task.id }}"),
        rule(when="chain.submissions == 0", press="U1"),
    ],
)  # fmt: skip
def test_a_rule_that_does_what_it_says_gives_no_warning(one: Rule) -> None:
    """Guards of every form count: a limit, a depth, a number of submissions, an action that is made by something else."""
    assert warnings_of(one) == []


def test_a_rule_that_fires_again_only_where_it_fails_again_needs_a_guard_too() -> None:
    """A repeat has the depth of what it repeats, so that a depth is no guard; a press on another signal is no matter of loops."""
    assert found(rule("task.failed", "chain.depth == 0", repeat=True)) == [("again", "repeat")]
    assert found(rule("task.failed", repeat=True, once_per="task")) == [("again", "repeat")]
    assert found(rule("task.failed", repeat=True, once_per="root")) == [("again", "repeat")]
    assert found(rule("submission.dead", repeat=True)) == [("again", "repeat")]
    assert found(rule("task.cancelled", imagine="a cat")) == [("again", "imagine")]


def test_a_depth_guards_a_new_prompt_after_a_failed_task() -> None:
    """It is one deeper than what failed. One that is refused makes no task, and stays at the depth of what it follows from."""
    assert found(rule("task.failed", "chain.depth < 2", imagine="a cat")) == []
    assert found(rule("task.failed", "chain.depth > 2", imagine="a cat")) == [("again", "imagine")]
    assert found(rule("submission.rejected", "chain.depth < 2", imagine="a cat")) == [("again", "imagine")]
    assert found(rule("submission.rejected", "chain.submissions < 3", imagine="a cat")) == []


def test_a_condition_with_a_precise_warning_gets_no_general_one() -> None:
    """`chain.depth == '0'` is never true as well."""
    assert found(rule(when="chain.depth == '0'")) == [("type", "if")]


FACTS: dict[str, Domain] = {"task.status": ("SUCCESS",)}


@pytest.mark.parametrize(
    ("condition", "result"),
    [
        ("task.status == 'SUCCESS'", {True}),
        ("task.status != 'SUCCESS'", {False}),
        ("task.status in ['FAILURE', 'CANCEL']", {False}),
        ("task.status not in ['FAILURE', 'CANCEL']", {True}),
        ("not task.status", {False}),
        ("task.status == 'FAILURE' and 'x' in task.prompt", {False}),
        ("'x' in task.prompt and task.status == 'FAILURE'", {False}),
        ("task.status == 'SUCCESS' or 'x' in task.prompt", {True}),
        ("'x' in task.prompt or task.status == 'SUCCESS'", {True}),
        ("task.status == 'SUCCESS' and 'x' in task.prompt", {UNKNOWN}),
        ("task.status == 'FAILURE' or 'x' in task.prompt", {UNKNOWN}),
        ("not ('x' in task.prompt)", {UNKNOWN}),
        ("task.is_grid", {True, False}),
        ("task.is_grid and not task.is_grid", {False}),
        ("task.prompt == 'a' and task.prompt == 'b'", {False}),
        ("task.prompt == 'a' or task.prompt != 'a'", {True}),
        ("chain.depth >= 0", {True}),
        ("chain.depth > 3 and chain.depth < 2", {False}),
        ("chain.depth > 3 and chain.depth < 5", {True, False}),
        ("0 <= chain.depth", {True}),
        (f"chain.depth > {LARGE}", {True, False}),
        ("task.progress >= -1", {True, False}),
        ("task.progress is none or task.progress >= -1", {True}),
        ("task.progress is none and task.progress > 5", {False}),
        ("'x' in task.prompt or task.progress > 5", {True, UNKNOWN}),
        ("task.image_number == 5", {False}),
        ("task.extra.seed == 5", {UNKNOWN}),
        ("task.status.startswith('S')", {UNKNOWN}),
        ("task.status | lower == 'success'", {UNKNOWN}),
        ("task.status == task.action", {UNKNOWN}),
        ("chain.depth == -1", {False}),
        ("chain.depth > -1", {True}),
        ("1 if task.is_grid else 0", {UNKNOWN}),
        ("task.prompt > 'm'", {UNKNOWN}),
        ("'text'", {True}),
        ("0", {False}),
        ("[]", {False}),
    ],
)
def test_what_a_condition_can_be(condition: str, result: set[object]) -> None:
    """For every value of the fields; what cannot be worked out is unknown, never guessed."""
    assert outcomes(parsed(condition), FACTS) == result


def test_too_many_combinations_are_unknown() -> None:
    """A condition is looked at for a tenth of a second at most."""
    long = " or ".join(
        f"task.prompt == 'x{n}' and task.action == 'y{n}' and chain.depth == {n}" for n in range(40)
    )
    assert outcomes(parsed(long), {}) == {UNKNOWN}


@pytest.mark.parametrize("signal", sorted(SIGNALS))
def test_no_condition_stops_a_rule_from_loading(signal: str) -> None:
    """Whatever is written: the linter reads it, and never fails."""
    for when in (
        "task.prompt is sameas none or task.extra.a[1:2] or [1, 2][0] or {'a': 1}.a or task.prompt ~ 'x'",
        "chain.depth == 99999999999999999999999999 or chain.depth < 1e400",
        "(task.image_number, 1) in [(1, 2)] and -task.progress < +3 and 2 ** 3 > task.progress",
        "task.progress in [none, true, 'x', 1.5, [1]]",
        "task in [1] or modal or submission == none",
        " or ".join(["task.id"] * 300),
    ):
        assert all(
            isinstance(one, Caution) for one in warnings_of(rule(signal, when, imagine="{{ task.prompt }}"))
        )


@pytest.mark.parametrize(
    ("unless", "kind", "says"),
    [
        ("true", "always", "so nothing is ever sent"),
        ("task.status == 'SUCCESS'", "always", "so nothing is ever sent"),
        ("task.status == 'FAILURE'", "never", "so it never keeps anything from being sent"),
        ("chain.pressed == 'U1'", "type", "chain.pressed is a list, and 'U1' is a text"),
        ("chain.depth > '3'", "type", "so nothing is ever sent"),
        ("task.action == 'upscale'", "word", "task.action is never 'upscale'"),
        ("task.progress > 50", "no value", "nothing is sent then"),
    ],
)
def test_unless_is_looked_at_as_if_is(unless: str, kind: str, says: str) -> None:
    """With what it means for something scheduled; on several signals too."""
    [one] = warnings_of(rule(press="U1", after="1 h", unless=unless))
    assert (one.kind, one.key) == (kind, "unless")
    assert says in one.problem
    assert "fires" not in one.problem


@pytest.mark.parametrize(
    "unless",
    [
        "chain.pressed_by_person",
        "'U1' in chain.pressed",
        "chain.pressed",
        "chain.submissions > 3",
        "task.is_grid",
    ],
)
def test_a_right_unless_gives_no_warning(unless: str) -> None:
    assert warnings_of(rule(press="U1", after="1 h", unless=unless)) == []


def test_rules_that_never_fire_together_do_not_share_a_button() -> None:
    """Nor is there a warning where that is unknown, where the terms are the same, or on other signals."""
    rule = '[[rules]]\nname = "{}"\non = "{}"\nif = "{}"\npress = "U1"\n'
    first = rule.format("a", "task.succeeded", "task.is_grid and chain.depth == 0")
    later = 'after = "1 h"\n'
    for signal, condition, more in [
        ("task.succeeded", "task.is_grid and chain.depth == 1", later),
        ("task.succeeded", "now().hour > 5", later),
        ("task.succeeded", "task.is_grid and chain.depth == 0", ""),
        ("task.succeeded", "task.is_grid and chain.depth == 0", "enabled = false\n" + later),
        ("submission.existed", "task.is_grid and chain.depth == 0", later),
    ]:
        text = first + rule.format("b", signal, condition) + more
        tables = tomllib.loads(text)
        source = Source(file="f", text=text, tables=tables, context=RuleContext(directory=None))
        rules, mistakes = find_in([source])
        assert [one.kind for found in rules for one in found.warnings if one.kind == "shared"] == []
        assert mistakes == []
