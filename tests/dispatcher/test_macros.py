"""Macros at work: what a name stands for, in every place in which a rule has an expression, and what decisions say about it."""

from __future__ import annotations

import cProfile
import tomllib
from pathlib import Path

import msgspec
import pytest

from dispatcher.plugins.errors import GiveUp, RuleError
from dispatcher.plugins.scheduled import Terms
from dispatcher.rules import language
from dispatcher.rules.compile import CompiledRule, RuleContext
from dispatcher.rules.language import Evaluated, Expression
from dispatcher.rules.later import mistake_in, with_digests
from dispatcher.rules.macro_tables import unused
from dispatcher.rules.macros import MOST_PARTS, Macro, condition_tree, expanded, used_by
from dispatcher.rules.mistakes import Mistake
from dispatcher.rules.roots import uses_root
from dispatcher.rules.sandbox import parsed
from dispatcher.rules.sources import Source, find_in
from dispatcher.rules.why import words
from hookchain.testing import Hookchain, grid
from midjourney.requests import Imagine

MACROS = """
[macros]
is_final = "task.is_grid and chain.depth < vars.most"
"wide(ratio)" = "task.params.ar == ratio"
caption = "{{ task.prompt | upper }} ({{ task.action }})"
"hats(one, other)" = "one ~ ' and ' ~ other"

[vars]
most = 2

[[rules]]
name = "hat"
on = "task.succeeded"
if = "is_final() and (wide('16:9') or wide('3:2'))"
imagine = "{{ caption }}: {{ hats('a ' ~ task.id, caption | lower) }}"
limit = 1
"""


def found(*texts: str) -> tuple[list[CompiledRule], list[Mistake]]:
    """The rules of these files, and their mistakes."""
    return find_in(sources(*texts))


def sources(*texts: str) -> list[Source]:
    """These texts as files."""
    return [
        Source(file=f"{at}.toml", text=text, tables=tomllib.loads(text), context=RuleContext(directory=None))
        for at, text in enumerate(texts)
    ]


def rule(name: str, condition: str, more: str = "") -> str:
    """A rule with a condition."""
    return f'[[rules]]\nname = "{name}"\non = "task.succeeded"\nif = "{condition}"\npress = "U1"\n{more}\n'


def test_a_condition_and_a_text_are_named_once(hookchain: Hookchain) -> None:
    """With and without parentheses, with arguments, inside each other, and with the variables of the rule."""
    hookchain.load_rules(MACROS)
    (ask,) = hookchain.succeed(grid("t", prompt="a cat --ar 3:2")).asks
    assert isinstance(ask.request, Imagine)
    assert ask.request.prompt == "A CAT --AR 3:2 (IMAGINE): a t and a cat --ar 3:2 (imagine)"


def test_a_decision_says_what_a_macro_came_to(hookchain: Hookchain) -> None:
    """Of an `and` the part that is false; of an `or` the value of each macro."""
    hookchain.load_rules(MACROS)
    square = hookchain.succeed(grid("t", prompt="a cat"))
    assert square.decisions["rule:hat"] == (
        "did not fire: wide('16:9') or wide('3:2') is false (wide('16:9') = False, wide('3:2') = False)"
    )
    hookchain.load_rules(MACROS.replace("most = 2", "most = 0").replace('"hat"', '"other"'))
    again = hookchain.succeed(grid("again", prompt="a cat --ar 3:2"))
    assert again.decisions["rule:other"] == (
        "did not fire: is_final() is false: chain.depth < vars.most is false (chain.depth = 0, vars.most = 0)"
    )


def test_a_missing_value_in_a_macro_is_a_false_condition(hookchain: Hookchain) -> None:
    """As without a macro; the value is named."""
    hookchain.load_rules('[macros]\nis_seeded = "task.extra.seed > 5"\n' + rule("r", "is_seeded"))
    assert hookchain.succeed(grid()).decisions["rule:r"] == (
        "did not fire: task.extra.seed has no value, so is_seeded is false"
    )


def test_an_error_when_it_runs_names_the_place_of_the_macro(hookchain: Hookchain) -> None:
    """The rule is named by the dead letter."""
    hookchain.load_rules('[macros]\nhalf = "10 / chain.depth"\n' + rule("r", "half > 3"))
    with pytest.raises(
        GiveUp, match=r"'half > 3' \(half is at rules:2\) cannot be evaluated: division by zero"
    ):
        hookchain.succeed(grid())


def test_an_argument_is_a_value_and_not_source() -> None:
    """Operators of an argument and of a macro do not run into each other; nor do names."""
    macros = (
        Macro(name="twice", parameters=("x",), source="x + x"),
        Macro(name="less", parameters=("x", "y"), source="x - y"),
    )
    for source, value in {
        "twice(1 + 2) - 1 == 5": True,
        "10 - less(3, 2 - 1) == 8": True,
        "less(less(9, 3), twice(2)) == 2": True,
        "twice('a' if false else 'b') == 'bb'": True,
        "not twice(0)": True,
    }.items():
        asked = Expression(kind="condition", source=source, values={}, macros=macros)
        sent = msgspec.msgpack.encode(asked)
        answer = msgspec.msgpack.decode(language.answer(sent), type=Evaluated)
        assert (source, answer.holds) == (source, value)


def test_a_macro_that_doubles_itself_again_and_again_is_refused_at_once() -> None:
    """A hundred of them would have more parts than there are atoms."""
    names = [f"m{at}" for at in range(100)]
    table = "".join(f'{name} = "m{at - 1} ~ m{at - 1}"\n' for at, name in enumerate(names) if at)
    text = '[macros]\nm0 = "task.prompt"\n' + table + rule("r", "m99 == ''")
    rules, mistakes = found(text)
    assert rules != []  # the rule itself is right
    assert f"at most {MOST_PARTS} parts" in mistakes[0].problem
    with pytest.raises(RuleError, match="too large"):
        expanded(
            parsed("+".join(["m(1)"] * 150)),
            (Macro(name="m", parameters=("x",), source="[" + "x," * 20 + "]"),),
        )


def calls_to_load(text: str) -> int:
    """The calls of functions that reading a file with rules takes."""
    counted = cProfile.Profile()
    with counted:
        _, mistakes = found(text)
    assert mistakes == []
    return sum(entry.callcount for entry in counted.getstats())


@pytest.mark.parametrize("is_macro", [True, False])
def test_a_wide_condition_takes_work_in_proportion_to_its_parts(is_macro: bool) -> None:
    """Also as a macro. Work that grew with the square of them took a second for each rule, while callbacks waited."""

    def text(clauses: int) -> str:
        wide = " or ".join(f"'w{number}' in task.prompt" for number in range(clauses))
        if not is_macro:
            return rule("r", wide, f'notify = {{ to = "json://127.0.0.1", text = "{{{{ {wide} }}}}" }}')
        more = 'notify = { to = "json://127.0.0.1", text = "{{ wide_one }}" }'
        return f'[macros]\nwide_one = "{wide}"\n' + rule("r", "wide_one and chain.depth < 3", more)

    calls_to_load(text(1))  # what is done once for the whole process
    assert calls_to_load(text(120)) < 2.5 * calls_to_load(text(60))


def test_the_macros_of_each_file_are_for_all_files() -> None:
    """The same one in two files, as in two copies of a blueprint, is one macro; two that differ are a mistake that names both."""
    main = rule("a", "is_big") + '[macros]\nis_small = "not is_big"\n'
    more = '[macros]\nis_big = "task.is_grid"\n' + rule("b", "is_small")
    rules, mistakes = found(main, more, more.replace('"b"', '"c"'))
    assert ([one.rule.name for one in rules], mistakes) == (["a", "b", "c"], [])
    _, mistakes = found(main, more, more.replace('"b"', '"c"').replace("grid", "remix_modal"))
    assert [str(one) for one in mistakes] == [
        "2.toml:2, key 'macros.is_big': another macro has this name, at 1.toml:2. Rename one of them. "
        'Used by rule "a" (0.toml:1), rule "b" (1.toml:3), rule "c" (2.toml:3).'
    ]


def test_a_macro_uses_the_variables_of_the_rule() -> None:
    """Each rule brings its own."""
    text = (
        '[macros]\nis_near = "chain.depth < vars.most"\n'
        + rule("a", "is_near", "vars = { most = 1 }")
        + rule("b", "is_near")
    )
    rules, mistakes = found(text)
    assert [one.rule.name for one in rules] == ["a"]
    assert "the macro is_near (0.toml:2) cannot be used here" in mistakes[0].problem
    assert "no variable is named 'most'" in mistakes[0].problem


def test_a_macro_decides_what_a_rule_needs() -> None:
    """The first task of the chain, and the signals that have what it uses."""
    macros = '[macros]\nmine = "chain.state == \'x\'"\nall_of_them = "{{ chain.tasks | length }}"\n'
    (one,), mistakes = found(macros + rule("a", "mine"))
    assert (uses_root(one.rule), mistakes) == (True, [])
    _, mistakes = found(macros + rule("a", "mine", 'state = "{{ all_of_them }}"'))
    assert "task.succeeded does not have chain.tasks" in mistakes[0].problem


def test_only_a_macro_that_a_rule_uses_changes_what_it_says() -> None:
    """What it has scheduled is dropped for such a change, also of a macro that the macro uses, and for no other."""

    def digests(text: str) -> tuple[str, str]:
        (one,), mistakes = found(text)
        assert mistakes == []
        terms = with_digests(Terms(receiver="rule:hat", event=1, asked_ms=0), one.rule)
        return terms.rule, terms.does

    before = digests(MACROS)
    assert digests(MACROS.replace("[macros]", '[macros]\nanother = "task.id"')) == before
    condition = digests(MACROS.replace("task.is_grid and", "not task.is_grid and"))
    assert (condition[0] == before[0], condition[1] == before[1]) == (False, True)
    variable = digests(MACROS.replace("most = 2", "most = 3"))
    assert (variable[0] == before[0], variable[1] == before[1]) == (False, True)
    text = digests(MACROS.replace("| upper", "| lower"))
    assert (text[0] == before[0], text[1] == before[1]) == (False, False)


def test_a_word_that_is_also_the_name_of_a_macro_is_no_use_of_it() -> None:
    """Neither in the name of a rule, nor in quotes, nor beside the braces. What was scheduled is not dropped for it."""

    def terms(text: str) -> Terms:
        (one,), mistakes = found(text)
        assert mistakes == []
        return with_digests(Terms(receiver="rule:grids", event=1, asked_ms=0), one.rule)

    for condition, state in (("task.is_grid and 'grids' in task.prompt", "of grids"), ("task.is_grid", "x")):
        plain = rule("grids", condition, f'state = "{state} {{{{ task.id }}}}"')
        assert terms('[macros]\ngrids = "task.is_grid"\n' + plain) == terms(plain)
    no_template = rule("grids", "task.is_grid", 'notify = { to = "json://h/{{grids", text = "x" }')
    assert list(terms('[macros]\ngrids = "task.is_grid"\n' + no_template).macros) == ["grids"]
    used = rule("r", "grids", 'state = "x"')
    before, now = (
        terms(f'[macros]\ngrids = "{source}"\n' + used) for source in ("task.is_grid", "not task.is_grid")
    )
    assert (before.macros == now.macros, before.rule == now.rule, before.does == now.does) == (
        False,
        False,
        True,
    )


def test_unless_may_use_macros(hookchain: Hookchain) -> None:
    """Those too that use what is known only when something is due."""
    hookchain.load_rules(
        '[macros]\nis_taken = "chain.pressed_by_person or chain.depth > 5"\n'
        + rule("r", "task.is_grid", 'after = "10 min"\nunless = "is_taken"')
    )
    assert len(hookchain.succeed(grid()).asks) == 1
    assert [sent.label for sent in hookchain.wait("11 min").sent] == ["U1"]


def test_a_text_may_be_compared_and_chosen_in_a_condition() -> None:
    """It is a mistake only where it is true or false itself; also for the `unless` of a plugin."""
    macros = '[macros]\nsaid = "{{ chain.state }}"\n"is_in(one)" = "task.action == one"\n'
    for condition in (
        "said == 'x' and is_in('UPSCALE')",
        "(said or 'none') == 'none'",
        "('a' if task.is_grid else said) == 'a'",
        "said | length > 2",
        "task.prompt and task.prompt ~ task.state",
    ):
        assert found(macros + rule("r", condition))[1] == []
    assert mistake_in("not ('ab' ~ task.prompt)").endswith("or leave out its quotes if it is a field")
    assert mistake_in("task.prompt == 'a' ~ 'b'") == ""


def test_a_macro_that_no_rule_uses_is_warned_of() -> None:
    """Also if only another such macro uses it; not if a macro that a rule uses does."""
    text = (
        '[macros]\na = "task.is_grid"\nb = "a"\nc = "c2"\nc2 = "task.id"\n'
        + rule("r", "b")
        + 'state = "{{ task.id }}"\n'
    )
    assert [(one.key, one.kind, one.line) for one in unused(sources(text))] == [
        ("macros.c", "unused", 4),
        ("macros.c2", "unused", 5),
    ]


def test_a_used_macro_is_written_as_it_was_used() -> None:
    """In messages about a condition."""
    macros = (Macro(name="wide", parameters=("ratio",), source="task.params.ar == ratio"),)
    tree = condition_tree("not wide('16:9') and 1", macros)
    assert words(tree) == "not wide('16:9') and 1"
    assert [one.name for one in used_by(parsed("x + wide(1)"), macros)] == ["wide"]


def test_a_pattern_in_a_macro_may_be_an_argument(hookchain: Hookchain, tmp_path: Path) -> None:
    """It is checked where the argument is known."""
    macros = '[macros]\n"says(pattern)" = "task.prompt | match(pattern)"\n'
    hookchain.load_rules(macros + rule("r", "says('c[ao]t')"))
    assert hookchain.succeed(grid(prompt="a cat")).asks != []
    _, mistakes = found(macros + rule("r", "says('c[')"))
    assert "says('c[')" in mistakes[0].problem
