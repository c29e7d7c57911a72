"""Variables and blueprints at work: what a value becomes, and what it can never become."""

from __future__ import annotations

import tomllib

import msgspec
import pytest

from dispatcher.plugins.errors import RuleError
from dispatcher.plugins.scheduled import Terms
from dispatcher.rules import language
from dispatcher.rules.blueprint import Input, Type, value_of
from dispatcher.rules.checks import InvalidRule
from dispatcher.rules.compile import CompiledRule, RuleContext
from dispatcher.rules.language import Evaluated, Expression
from dispatcher.rules.later import with_digests
from dispatcher.rules.model import NotifyTo
from dispatcher.rules.sources import Source, find_in
from hookchain.testing import Hookchain, grid
from midjourney.requests import Imagine

VARIABLES = """
[vars]
who = "a cat"
most = 2

[[rules]]
name = "hat"
on = "task.succeeded"
if = "task.prompt == vars.who and chain.depth < vars.most and task.action in vars.actions"
imagine = "{{ vars.what | upper }} for {{ vars.who }}"
vars = { what = "hats", actions = ["IMAGINE", "BLEND"] }
limit = 1
"""

BLUEPRINT = """
[blueprint]
description = "Tell a chat."

[blueprint.inputs.chat]
type = "url"

[blueprint.inputs.greeting]
default = "hello"

[blueprint.inputs.many]
type = "number"
default = 2

[[rules]]
name = "tell <<greeting>>"
on = "task.succeeded"
if = "chain.depth < vars.many"
limit = "<<many>>"
notify = { to = "<<chat>>", text = "<<greeting>>, {{ task.prompt }}, {{ vars.greeting }}" }
"""


def loaded(*texts: str) -> list[CompiledRule]:
    """The rules of these files; fails with their mistakes."""
    sources = [
        Source(file=f"{at}.toml", text=text, tables=tomllib.loads(text), context=RuleContext(directory=None))
        for at, text in enumerate(texts)
    ]
    rules, mistakes = find_in(sources)
    assert [str(mistake) for mistake in mistakes] == []
    return rules


def test_variables_are_used_in_conditions_and_texts(hookchain: Hookchain) -> None:
    """Those of the file and of the rule; what is told names their values."""
    hookchain.load_rules(VARIABLES)
    other = hookchain.succeed(grid("other", prompt="a dog"))
    assert "task.prompt == vars.who is false" in other.decisions["rule:hat"]
    assert "vars.who = 'a cat'" in other.decisions["rule:hat"]
    (ask,) = hookchain.succeed(grid()).asks
    assert isinstance(ask.request, Imagine)
    assert ask.request.prompt == "HATS for a cat"


def test_a_rules_own_variable_comes_before_the_files() -> None:
    """And the first file's are for the files that it includes, whose own come before them."""
    rule = '[[rules]]\nname = "{}"\non = "task.succeeded"\nshorten = "{{{{ vars.a }}}}"\n'
    first = "[vars]\na = 1\nb = 1\nc = 1\n" + rule.format("x") + "vars = { a = 3 }\n"
    one, two = loaded(first, "[vars]\nb = 2\n" + rule.format("y"))
    assert (one.rule.vars, two.rule.vars) == ({"a": 3, "b": 1, "c": 1}, {"a": 1, "b": 2, "c": 1})


def test_an_expression_in_another_process_has_its_variables() -> None:
    """As plain values, whatever they are named; `buttons` and `params` of tasks are other things."""
    values: dict[str, object] = {"vars": {"buttons": ["a", "b"], "params": "x", "self": 1}}
    source = "{% for one in vars.buttons %}{{ one }}{% endfor %}{{ vars.params }}{{ vars.self }}"
    asked = msgspec.msgpack.encode(Expression(kind="text", source=source, values=values))
    assert msgspec.msgpack.decode(language.answer(asked), type=Evaluated).text == "abx1"


def test_unless_may_use_variables(hookchain: Hookchain) -> None:
    """It is asked when the press is due, with the rule's variables as they are."""
    rule = '[[rules]]\nname = "{0}"\non = "task.succeeded"\npress = "{0}"\nafter = "10 min"\nunless = "chain.depth < vars.most"\nvars = {{ most = {1} }}\n'
    hookchain.load_rules(rule.format("U1", 0) + rule.format("U2", 9))
    assert len(hookchain.succeed(grid()).asks) == 2
    assert [sent.label for sent in hookchain.wait("11 min").sent] == ["U1"]


def test_only_a_variable_that_a_rule_uses_changes_what_it_says() -> None:
    """What it has scheduled is dropped for such a change, and for no other."""

    def digests(text: str) -> tuple[str, str]:
        (rule,) = loaded(text)
        terms = with_digests(Terms(receiver="rule:hat", event=1, asked_ms=0), rule.rule)
        return terms.rule, terms.does

    before = digests(VARIABLES)
    assert digests(VARIABLES.replace("most = 2", "most = 2\nunused = 5")) == before
    changed_condition = digests(VARIABLES.replace("most = 2", "most = 3"))
    assert (changed_condition[0] == before[0], changed_condition[1] == before[1]) == (False, True)
    changed_text = digests(VARIABLES.replace('"hats"', '"caps"'))
    assert (changed_text[0] == before[0], changed_text[1] == before[1]) == (False, False)


def test_an_input_is_filled_in_and_is_a_variable(hookchain: Hookchain) -> None:
    """A number stays a number where it is the whole value. Inputs without a value have their default."""
    hookchain.load_rules(BLUEPRINT + '[blueprint.values]\nchat = "json://127.0.0.1"\nmany = 1\n')
    asked = hookchain.succeed(grid())
    assert [(told.to, told.text) for told in asked.told] == [
        (("json://127.0.0.1",), "hello, a cat, hello"),
    ]
    assert hookchain.succeed(grid("again")).told != []


def test_a_value_is_a_value_and_nothing_else() -> None:
    """Quotes, line ends and brackets are text; another placeholder in it is not filled in."""
    given = 'x"\n[[rules]]\nname = "evil" <<chat>> } ] #'
    text = BLUEPRINT.replace("tell <<greeting>>", "tell")
    tables = tomllib.loads(text)
    tables["blueprint"]["values"] = {"chat": "json://127.0.0.1", "greeting": given}
    source = Source(file="f", text=text, tables=tables, context=RuleContext(directory=None))
    ((rule,), mistakes) = find_in([source])
    assert mistakes == []
    assert isinstance(rule.rule.notify, NotifyTo)
    assert rule.rule.notify.text == given + ", {{ task.prompt }}, {{ vars.greeting }}"


@pytest.mark.parametrize("value", ["{{ task.raw }}", "{% for a in b %}", "}} {{"])
def test_a_value_never_becomes_an_expression(value: str) -> None:
    """Not by itself, and not with the text around it."""
    text = BLUEPRINT.replace("<<greeting>>, {{", "{<<greeting>>}, {{")
    for given in (value, "{ 7 * 7 }"):
        tables = tomllib.loads(text) | {}
        tables["blueprint"]["values"] = {"chat": "json://127.0.0.1", "greeting": given}
        source = Source(file="f", text=text, tables=tables, context=RuleContext(directory=None))
        rules, mistakes = find_in([source])
        assert (rules, len(mistakes)) == ([], 1)
        assert "must not become an expression" in str(mistakes[0])


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("text", "3", "3"),
        ("number", "3", 3),
        ("number", "1.5", 1.5),
        ("bool", "yes", True),
        ("duration", "10 min", "10 min"),
        ("duration", "90", 90),
        ("url", "discord://a/b", "discord://a/b"),
        ("upstream", "main", "main"),
    ],
)
def test_what_a_text_on_the_command_line_means(kind: Type, text: str, value: object) -> None:
    """By the type of the input."""
    assert value_of("x", Input(type=kind), text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [("number", "three"), ("bool", "3"), ("duration", "soon"), ("url", "here"), ("upstream", " ")],
)
def test_a_wrong_value_says_what_to_write(kind: Type, text: str) -> None:
    """Before anything is written."""
    with pytest.raises(InvalidRule, match="'x'") as raised:
        value_of("x", Input(type=kind), text)
    assert raised.value.remedy.startswith(" Write")


def test_a_blueprint_without_values_does_not_run(hookchain: Hookchain) -> None:
    """It says how to fill it."""
    with pytest.raises(
        RuleError, match=r"1 input has no value: chat\. Write chat = … below \[blueprint.values\]"
    ):
        hookchain.load_rules(BLUEPRINT)


def test_a_question_for_approval_may_use_variables() -> None:
    """As every text of a rule."""
    rule = '[[rules]]\nname = "r"\non = "task.succeeded"\npress = "U1"\nvars = { who = "Ann" }\n'
    text = rule + 'approve = { notify = "json://127.0.0.1", text = "{{ vars.who }} {{ approval.url }}" }\n'
    (one,) = loaded(text)
    assert one.approval is not None
    wrong = text.replace("vars.who", "vars.whom")
    source = Source(file="f", text=wrong, tables=tomllib.loads(wrong), context=RuleContext(directory=None))
    assert ["no variable is named 'whom'" in str(mistake) for mistake in find_in([source])[1]] == [True]
