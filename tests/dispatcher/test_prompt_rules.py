"""Prompts as data in rules: in conditions, in templates, and what is wrong when a rule is read."""

from __future__ import annotations

import json
import re

import pytest

from dispatcher.plugins.errors import RuleError
from dispatcher.rules.expressions import Condition, compile_template
from dispatcher.rules.language import Evaluated, Expression
from dispatcher.tickets.answers import prompt_in_window
from hookchain.testing import Hookchain, upscale
from midjourney.buttons import Button
from midjourney.types import Task

CAT = Task(
    id="1", status="SUCCESS", action="IMAGINE", prompt="https://x/y.png a cat --aspect 1920:1080 --v 7 --raw"
)
DESCRIBED = Task(id="1", status="SUCCESS", action="DESCRIBE", prompt="1️⃣ a\n\n2️⃣ b --ar 1:1\n\n3️⃣ c\n\n4️⃣ d")


async def confined(expression: Expression) -> Evaluated:
    raise AssertionError(f"{expression.source} is not worked out in place")


@pytest.mark.parametrize(
    "condition",
    [
        "task.params.ar == '16:9'",
        "task.params.aspect == '16:9' and task.params['ar'] == '16:9'",
        "task.params.version >= 7",
        "task.params.raw and not task.params.tile",
        "task.params.zoom is none",
        "not task.params.zoom",
        "task.params.stylize == 100",
        "'ar' in task.params",
        "task.words == 'a cat'",
        "(task.prompt | params).v == 7",
        "('b --ar 2:4' | words) == 'b'",
        "not task.described",
        "submission.prompt == ''",
    ],
)
async def test_conditions_read_prompts_in_place(condition: str) -> None:
    """They are as quick as comparisons, so no other process is needed."""
    submission = type("Nothing", (), {"prompt": ""})()
    result = await Condition(condition, confined)({"task": CAT, "submission": submission})
    assert result.holds, result


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ task.prompt | with_param('zoom', 1.6) }}", CAT.prompt + " --zoom 1.6"),
        ("{{ task.prompt | with_param('ar', '3:2') }}", CAT.prompt.replace("--aspect 1920:1080", "--ar 3:2")),
        ("{{ task.prompt | without_param('ar', 'v') }}", "https://x/y.png a cat --raw"),
        ("{{ task.words | with_param('seed', task.params.v) }}", "a cat --seed 7"),
        ("{{ task.params.ar }} {{ task.params.zoom }}", "16:9 None"),
    ],
)
async def test_templates_write_prompts_in_place(template: str, text: str) -> None:
    """Links and other parameters stay as they are."""
    assert await compile_template(template, confined)({"task": CAT}) == text


async def test_the_third_prompt_of_a_describe() -> None:
    """Beyond the last there is no value, which is a mistake that names itself."""
    assert await compile_template("{{ task.described[1] }}")({"task": DESCRIBED}) == "b --ar 1:1"
    with pytest.raises(RuleError, match="cannot be rendered"):
        await compile_template("{{ task.described[4] }}")({"task": DESCRIBED})


@pytest.mark.parametrize(
    ("pattern", "holds"),
    [(r"\bcats?\b", True), ("(?i)CAT", True), ("CAT", False), (r"^a cat", False), ("(a+)+$", False)],
)
async def test_match_finds_a_pattern_anywhere(pattern: str, holds: bool) -> None:
    """`^` and `$` hold it to the ends."""
    result = await Condition(f"task.prompt | match({pattern!r})")({"task": CAT})
    assert result.holds is holds


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("task.params.aspct == '1:1'", "'task.params' has no field 'aspct'. Did you mean \"aspect\"?"),
        ("task.prompt | with_param('zom', 2)", "unknown parameter 'zom'. Did you mean \"zoom\"?"),
        ("task.prompt | with_param('zoom', 'far')", "zoom = 'far': --zoom needs a number"),
        ("task.prompt | with_param('zoom')", "with_param takes a name and a value: with_param('zoom', 1.6)"),
        ("task.prompt | without_param", "without_param takes names: without_param('ar', 'zoom')"),
        ("task.prompt | without_param('aspct')", "unknown parameter 'aspct'"),
        ("task.prompt | match", "match takes one pattern: match('cats?')"),
        ("task.prompt | match('(a')", "the pattern '(a' at character 3: a ( is not closed"),
        ("task.prompt | match('a(?=b)')", "back-references and look-around can take for ever"),
        ("task.prompt | params('ar')", "params takes nothing in parentheses"),
        ("task.prompt | mach('a')", "unknown filter 'mach'. Did you mean \"match\"?"),
    ],
)
def test_a_wrong_use_is_a_mistake_of_the_file(expression: str, told: str) -> None:
    """Not one of each event."""
    with pytest.raises(RuleError, match=re.escape(told)):
        Condition(expression)
    with pytest.raises(RuleError, match=re.escape(told)):
        compile_template(f"{{{{ {expression} }}}}")


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{{ task.prompt | with_param('no', task.fail_reason) }}", "--no takes no other parameters"),
        ("{{ task.progress | with_param('zoom', 2) }}", "there is no prompt: the value is none"),
        ("{{ task.prompt | with_param(task.state, 2) }}", "unknown parameter 'what'"),
        ("{{ task.extra.none | words }}", "has no attribute 'none'"),
    ],
)
async def test_what_an_event_makes_wrong_is_not_sent(template: str, told: str) -> None:
    """A stranger's text cannot bring `--repeat 40` along."""
    task = Task(id="1", status="FAILURE", prompt="a", fail_reason="x --repeat 40", state="what")
    with pytest.raises(RuleError, match=re.escape(told)):
        await compile_template(template)({"task": task})


async def test_a_prompt_that_is_too_long_is_not_sent_in_part() -> None:
    """Whatever a filter makes of it."""
    task = Task(id="1", status="SUCCESS", prompt="a " * 20_000)
    for expression in ("task.prompt | with_param('zoom', 2)", "task.words", "task.prompt | words"):
        with pytest.raises(RuleError, match="has more than 16000 characters"):
            await compile_template(f"{{{{ {expression} }}}}")({"task": task})


@pytest.mark.parametrize(
    ("prompt", "sent"),
    [
        ("a cat --ar 3:2 --v 7 --zoom 1.8", "a cat --ar 3:2 --v 7 --zoom 1.6"),
        ("a cat --zoom 1.8 --ar 3:2", "a cat --zoom 1.6 --ar 3:2"),
        ("a cat --zoom=2", "a cat --zoom 1.6"),
        ("a cat —zoom 2", "a cat --zoom 1.6"),
        ("a cat --ZOOM 2", "a cat --zoom 1.6"),
        ("a cat", "a cat --zoom 1.6"),
    ],
)
def test_a_zoom_replaces_the_one_in_the_prompt(hookchain: Hookchain, prompt: str, sent: str) -> None:
    """Shared case 15: an upstream refuses two."""
    hookchain.load_rules(
        '[[rules]]\nname = "zoom"\non = "task.succeeded"\nif = "task.action == \'UPSCALE\'"\nzoom = 1.6\n'
    )
    (press,) = hookchain.succeed(upscale(properties={"finalPrompt": prompt})).asks
    assert hookchain.window(press, prompt=prompt).prompts == [sent]


@pytest.mark.parametrize(
    ("modal", "sent"),
    [
        ("{{ modal.prompt }} --zoom 1.8", "a --zoom 2 --zoom 1.8"),
        ("{{ modal.prompt | with_param('zoom', 1.8) }}", "a --zoom 1.8"),
    ],
)
def test_the_modal_that_a_user_writes_is_sent_as_it_is(hookchain: Hookchain, modal: str, sent: str) -> None:
    """Two `--zoom` too, which an upstream refuses: the documents show `with_param`."""
    hookchain.load_rules(
        f'[[rules]]\nname = "zoom"\non = "task.succeeded"\npress = "custom_zoom"\nmodal = {json.dumps(modal)}\n'
    )
    (press,) = hookchain.succeed(upscale()).asks
    assert hookchain.window(press, prompt="a --zoom 2").prompts == [sent]


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        ("a cat", "a cat --zoom 2"),
        ("a cat --zooming", "a cat --zooming --zoom 2"),
        ("a cat —zoom 1.5", "a cat —zoom 1.5"),
        ("a cat --ZOOM=1.5 --v 7", "a cat --ZOOM=1.5 --v 7"),
    ],
)
def test_a_window_of_the_gateway_proposes_a_factor_only_where_there_is_none(prompt: str, shown: str) -> None:
    """As Midjourney's own does."""
    zoom = Button(custom_id="MJ::CustomZoom::0ddb91a0-af46-4ae9-8e8e-c271074eb6e6", label="Custom Zoom")
    assert prompt_in_window(zoom, Task(id="1", status="SUCCESS", prompt=prompt)) == shown
