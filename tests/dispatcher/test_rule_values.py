"""What expressions of rules see: values that cannot act, cut where they are too long; and what is never sent."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any

import pytest

from dispatcher.plugins.errors import GiveUp, RuleError
from dispatcher.rules.confined import evaluate_confined, process
from dispatcher.rules.expressions import Condition, Evaluator, compile_template, evaluate_here
from dispatcher.rules.language import Evaluated, Expression
from dispatcher.rules.values import LONGEST_VALUE
from hookchain.testing import Hookchain, grid
from midjourney.decode import decode_task

LONG = "cat " * 250_000
RULE = """
[[rules]]
name = "r"
on = "task.succeeded"
"""


class Acting:
    """A chain that must not be reached."""

    id, client, upstream, depth, submissions = "c1", "", "main", 0, 0
    _secret = "secret"

    def __init__(self) -> None:
        self.acted: list[str] = []

    def press(self, *wanted: str) -> list[str]:
        self.acted += wanted
        return list(wanted)


ACTING = [
    "chain|attr('press')",
    "chain['press']",
    "([chain]|map(attribute='press')|first)",
    "([chain]|map('attr', 'press')|first)",
    "([chain]|groupby('press')|first).grouper",
    "(chain if true else 0)|attr('press')",
    "([chain]|list)[0].press",
]


@pytest.mark.parametrize("reached", ACTING)
@pytest.mark.parametrize("form", ["({})('U1')", "[({})('U1')]|length > 0"])
async def test_nothing_that_acts_is_in_reach_of_an_expression(reached: str, form: str) -> None:
    """A condition spent money without a word in the rule that says so."""
    chain, source = Acting(), form.format(reached)
    for ask in (Condition(source), compile_template(f"{{{{ {source} }}}}")):
        with pytest.raises(RuleError, match=r"cannot be (evaluated|rendered)"):
            await ask({"chain": chain})
    assert chain.acted == []


@pytest.mark.parametrize(
    "source",
    [
        "chain|attr('_secret')",
        "chain['_secret']",
        "chain|attr('__class__')",
        "chain|attr('__dict__')",
        "[chain]|map(attribute='__class__')|first",
        "task.prompt|attr('__class__')",
        "task.prompt['__class__']",
        "''['__class__'].__mro__",
        "'{0.__class__}'.format(chain)",
        "'{0.__class__}'.format_map({'0': chain})",
        "self|attr('__init__')",
    ],
)
async def test_nor_is_python(source: str) -> None:
    """By its private names."""
    with pytest.raises(RuleError):
        await compile_template(f"{{{{ {source} }}}}")(
            {"chain": Acting(), "task": decode_task(b'{"id": "1", "status": "SUCCESS"}')}
        )


@pytest.mark.parametrize(
    "source", ["lipsum.__globals__", "range(9)", "cycler", "joiner", "namespace()", "dict()"]
)
def test_there_are_no_globals(source: str) -> None:
    """Jinja has six by default, one of which leads to modules of Python."""
    with pytest.raises(RuleError, match="unknown name"):
        compile_template(f"{{{{ {source} }}}}")


MISSING = [
    ("task.extra.sed", "task.extra.sed has no value, which counts as false"),
    ("task['promt']", "task['promt'] has no value, which counts as false"),
    ("task.buttons[9]", "task.buttons[9] has no value, which counts as false"),
    (
        "task.buttons | selectattr('pressed') | first",
        "task.buttons|selectattr('pressed')|first has no value, which counts as false",
    ),
    ("modal", "modal has no value, which counts as false"),
    ("true if not task.prompt", "True if not task.prompt has no value, which counts as false"),
    ("task.extra.sed and task.prompt", "task.extra.sed has no value, which counts as false"),
    ("task.prompt and task.extra.sed", "task.extra.sed has no value, which counts as false"),
    ("task.extra.sed == 3", "task.extra.sed has no value, so task.extra.sed == 3 is false"),
    ("task.extra.a.b.c == 2", "task.extra.a has no value, so task.extra.a.b.c == 2 is false"),
    ("task.progress > 50", "task.progress has no value, so task.progress > 50 is false"),
    ("task.progress > 'x'", "task.progress has no value, so task.progress > 'x' is false"),
    ("task.prompt and task.progress > 50", "task.progress has no value, so task.progress > 50 is false"),
    (
        "task.progress > 50 or task.prompt",
        "task.progress has no value, so task.progress > 50 or task.prompt is false",
    ),
    ("not task.progress > 50", "task.progress has no value, so not task.progress > 50 is false"),
    (
        "(task.extra.a is defined and task.prompt) or task.extra.b > 3",
        "task.extra.b has no value, so (task.extra.a is defined and task.prompt) or task.extra.b > 3 is false",
    ),
    (
        "task.image_number + 1 > 2",
        "task.image_number has no value, so task.image_number + 1 > 2 is false",
    ),
    (
        "task.image_number | round == 2",
        "task.image_number has no value, so task.image_number|round == 2 is false",
    ),
    (
        "task.extra.seed.startswith('x')",
        "task.extra.seed has no value, so task.extra.seed.startswith('x') is false",
    ),
    (
        "task.prompt.startswith(task.extra.seed)",
        "task.extra.seed has no value, so task.prompt.startswith(task.extra.seed) is false",
    ),
    (
        "'x' in task.image_number",
        "task.image_number has no value, so 'x' in task.image_number is false",
    ),
]


@pytest.mark.parametrize(("source", "why"), MISSING)
@pytest.mark.parametrize(
    "evaluator", [evaluate_here, pytest.param(evaluate_confined, marks=pytest.mark.process)]
)
async def test_a_condition_is_false_where_a_value_is_missing(
    source: str, why: str, evaluator: Evaluator
) -> None:
    """Also behind a `not`, and whatever else an `or` offers: nothing is paid for by an unknown value. The note names the value."""
    names = {"task": decode_task(b'{"id": "1", "status": "SUCCESS", "prompt": "A cat"}')}
    assert await Condition(source, evaluator)(names) == Evaluated(holds=False, text=why, is_known=False)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("1 / 0 > task.prompt | length", "division by zero"),
        ("task.prompt > 3", "'>' not supported between instances of 'str' and 'int'"),
        ("task.prompt | round == 2", "doesn't define __round__ method"),
        ("task.prompt.startswith(3)", "startswith first arg must be str"),
        ("task.prompt == '' or task.prompt < 3", "'<' not supported between instances of 'str' and 'int'"),
        ("task.prompt.starts_with('A')", "has no attribute 'starts_with'"),
        ("task.progress is none and task.prompt > 3", "'>' not supported between instances"),
    ],
)
async def test_a_mistake_that_no_missing_value_explains_is_an_error(source: str, why: str) -> None:
    """It would be one for every event, and somebody has to mend the rule."""
    names = {"task": decode_task(b'{"id": "1", "status": "SUCCESS", "prompt": "A cat"}')}
    with pytest.raises(RuleError, match=f"cannot be evaluated: .*{re.escape(why)}"):
        await Condition(source)(names)


async def test_what_may_be_missing_can_be_asked_for() -> None:
    """As the message says."""
    names = {"task": decode_task(b'{"id": "1", "status": "SUCCESS", "prompt": "A cat"}')}
    for source in (
        "task.extra.sed is defined",
        "task.extra.sed | default(false)",
        "true if task.is_grid else false",
    ):
        assert not (await Condition(source)(names)).holds


def test_a_rule_whose_condition_has_no_value_does_not_fire(hookchain: Hookchain) -> None:
    """It is no dead letter for each event; the decision says which value is missing."""
    hookchain.load_rules(f"{RULE}if = \"task.extra['is_grid']\"\npress = 'U1'")
    asked = hookchain.succeed(grid())
    assert asked.asks == []
    assert asked.decisions["rule:r"] == (
        "did not fire: task.extra['is_grid'] has no value, which counts as false"
    )


@pytest.mark.parametrize("source", ["self", "super", "tsk", "prompt", "loop"])
def test_other_names_are_unknown(source: str) -> None:
    """Jinja's own `self` would be true for ever."""
    with pytest.raises(RuleError, match=f"unknown name '{source}'"):
        Condition(source)


def test_a_value_that_was_cut_may_decide(hookchain: Hookchain) -> None:
    """By its beginning; how long it is shows."""
    hookchain.load_rules(
        f"{RULE}if = \"task.prompt | length >= {LONGEST_VALUE} and 'cat' in task.prompt\"\npress = 'U1'"
    )
    assert hookchain.succeed(grid(prompt=LONG)).pressed == ["U1"]
    assert hookchain.succeed(grid(id="short", prompt="a cat")).pressed == []


@pytest.mark.parametrize(
    "written",
    [
        'imagine = "{{ task.prompt }}"',
        "imagine = \"{{ task.prompt | default('x') }}\"",
        'imagine = "{{ task.prompt | upper | truncate(20) }}"',
        'imagine = "{{ task.prompt[:20] }}"',
        "imagine = \"{% if task.prompt == 'x' %}a{% else %}b{% endif %}\"",
        'imagine = "{% for one in task.prompt %}{{ one }}{% endfor %}"',
        "imagine = \"{{ 'a cat' ~ task.prompt }}\"",
        'imagine = "{{ task }}"',
        "shorten = \"{{ task['prompt'] }}\"",
        'describe = "{{ task.prompt }}"',
        'blend = ["{{ task.prompt }}", "https://x.example.com/1.png"]',
        'press = "U1"\nstate = "{{ task.prompt }}"',
        'notify = { to = "json://127.0.0.1:9", text = "{{ task.prompt }}" }',
        'notify = "json://127.0.0.1:9"',
    ],
)
def test_a_value_that_was_cut_is_never_sent(hookchain: Hookchain, written: str) -> None:
    """Whatever the text makes of it, nothing is asked for: half a prompt would be paid for as a whole one."""
    hookchain.load_rules(f"{RULE}{written}")
    with pytest.raises(
        GiveUp, match=r'rule "r": .*task[.](final_)?prompt has more than 16000 characters.*leave it out'
    ) as raised:
        hookchain.succeed(grid(prompt=LONG))
    assert len(str(raised.value)) < 1000


def test_the_cure_in_the_message_is_one(hookchain: Hookchain) -> None:
    """Word for word."""
    hookchain.load_rules(f'{RULE}imagine = "{{{{ task.prompt }}}}"')
    with pytest.raises(GiveUp) as raised:
        hookchain.succeed(grid(prompt=LONG))
    condition = str(raised.value).partition("with if = ")[2]
    assert condition == f'"task.prompt | length < {LONGEST_VALUE}"'


def test_a_long_value_beside_it_harms_no_text(hookchain: Hookchain) -> None:
    """Nor a long field that a vendor has added; a prompt as long as any upstream takes is sent."""
    hookchain.load_rules(f'{RULE}imagine = "{{{{ task.prompt }}}} {{{{ task.extra.seed }}}}"')
    prompt = "x" * 5000
    asked = hookchain.succeed(grid(prompt=prompt, description=LONG, seed=7, trace=[LONG], big=10**40))
    assert asked.prompts == [f"{prompt} 7"]


def test_a_picture_in_a_rule_may_be_as_large_as_any(hookchain: Hookchain) -> None:
    """What the owner has written is no value, and has no such limit."""
    picture = f"data:image/png;base64,{base64.b64encode(bytes.fromhex('89504e470d0a1a0a') + bytes(300_000)).decode()}"
    hookchain.load_rules(f'{RULE}describe = "{picture}"')
    assert [one.kind for one in hookchain.succeed(grid()).asks] == ["describe"]


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"a": LONG}, "a"),
        ({"a": {"b": [LONG]}}, "a"),
        ({"a": [1] * 20_000}, "a"),
        ({"a": {"k" * 20_000: 1}}, "a"),
    ],
)
async def test_lists_and_tables_are_cut_too(extra: dict[str, Any], field: str) -> None:
    """By their characters and items together."""
    task = decode_task(json.dumps({"id": "1", "status": "SUCCESS", "prompt": "x"} | extra).encode())
    with pytest.raises(RuleError, match=rf"task.extra.{field} has more than 16000 characters"):
        await compile_template(f"{{{{ task.extra.{field} }}}}")({"task": task})
    assert (await Condition(f"task.extra.{field}|string|length < 50000")({"task": task})).holds


@pytest.mark.parametrize(
    "evaluator", [evaluate_here, pytest.param(evaluate_confined, marks=pytest.mark.process)]
)
@pytest.mark.parametrize("number", [-(2**63), 2**63, 2**64 - 1])
async def test_ids_that_are_large_numbers_stay_as_they_are(number: int, evaluator: Evaluator) -> None:
    """To the last digit, which a float would lose."""
    task = decode_task(json.dumps({"id": "1", "status": "SUCCESS", "seed": number}).encode())
    assert await compile_template("{{ task.extra.seed }}", evaluator)({"task": task}) == str(number)


async def test_bytes_are_text() -> None:
    """The payload, whatever is in it."""
    task = decode_task(b'{"id": "1", "status": "SUCCESS", "prompt": "caf\xc3\xa9"}')
    assert (await Condition("'caf\u00e9' in task.raw and task.raw is string")({"task": task})).holds


@pytest.mark.process
@pytest.mark.parametrize(
    ("source", "why"),
    [
        (
            "{% for a in p %}{% for b in p %}{% for c in p %}{% endfor %}{% endfor %}{% endfor %}",
            "1 s of processor time",
        ),
        ("{{ 1.5|round(1000000000, 'floor') }}", "1 s of processor time"),
        ("{{ 'x'|center(3000000000) }}", "too much memory"),
        ("{{ '%3000000000d'|format(1) }}", "too much memory|cannot be rendered"),
        ("{{ p|replace('', p) }}", "too much memory|produces more than 64000 characters"),
        ("{% for a in p %}{{ p }}{% endfor %}", "produces more than 64000 characters"),
        ("{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{{ m(1) }}", "recursion|1 s of processor time"),
        (
            "{% set a = [p, p] %}" + "{% set a = [a, a] %}" * 30 + "{{ a }}",
            "too much memory|1 s of processor time",
        ),
    ],
    ids=lambda value: value[:30],
)
async def test_what_takes_too_much_ends_alone(source: str, why: str) -> None:
    """It is judged in a process of its own; the next question has an answer."""
    question = Expression(kind="text", source=source, values={"task": {}, "p": "x" * LONGEST_VALUE})
    with pytest.raises(RuleError, match=why):
        await evaluate_confined(question)
    assert (await evaluate_confined(Expression(kind="text", source="{{ 1 + 1 }}", values={}))).text == "2"


@pytest.mark.process
async def test_what_is_simple_needs_no_other_process() -> None:
    """Names, comparisons, texts with values in them: most rules have nothing else."""
    process.close()
    names = {"task": decode_task(b'{"id": "1", "status": "SUCCESS", "prompt": "A cat"}'), "chain": Acting()}
    simple = "task.prompt | lower == 'a cat' and chain.depth == 0 and not task.is_grid"
    assert (await Condition(simple, evaluate_confined)(names)).holds
    assert await compile_template("{{ task.prompt }} --ar 3:2", evaluate_confined)(names) == "A cat --ar 3:2"
    assert process.pid is None
    assert (await Condition("task.prompt.split()|sort|first == 'A'", evaluate_confined)(names)).holds
    assert process.pid is not None


NOT_IN_PROPORTION = [
    "task.prompt | sort | join",
    "task.prompt | wordwrap(1)",
    "task.prompt | replace('', task.prompt)",
    "task.prompt.split()",
    "task.prompt | center(9999999)",
    "[task.prompt] * 10000",
    "task.prompt * 10",
    "9 ** 99",
    "'%9999999d' | format(1)",
    "'%9999999d' % 1",
    "task.prompt[::-1]",
    "task.prompt" + " ~ task.prompt" * 200,
]


@pytest.mark.parametrize("source", NOT_IN_PROPORTION, ids=lambda source: source[:30])
@pytest.mark.parametrize("form", ["{}", "{{{{ {} }}}}"], ids=["condition", "text"])
async def test_what_can_take_longer_than_its_values_are_long_is_judged_elsewhere(
    source: str, form: str
) -> None:
    """Where memory and time have a limit: only what is in proportion to short values is worked out by the server."""
    asked: list[str] = []

    async def elsewhere(question: Expression) -> Evaluated:
        asked.append(question.source)
        return Evaluated()

    written = form.format(source)
    expression = Condition(written, elsewhere) if form == "{}" else compile_template(written, elsewhere)
    await expression({"task": decode_task(b'{"id": "1", "status": "SUCCESS"}')})
    assert asked == [written]


@pytest.mark.parametrize(
    "filter_", ["wordwrap(1)", "list|sort|join", "list|unique|list|length", "urlize", "striptags"]
)
async def test_filters_of_a_long_prompt_end(filter_: str) -> None:
    """They took 8 s of the server; the processor time is printed, and what was cut decides."""
    task = decode_task(b'{"id": "1", "status": "SUCCESS", "prompt": "' + LONG.encode() + b'"}')
    began = time.thread_time()
    await Condition(f"task.prompt|{filter_}")({"task": task})
    print(f"{filter_}: {time.thread_time() - began:.3f} s")
