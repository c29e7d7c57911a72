"""Prompts as text and parameters."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midjourney.decode import decode_task
from midjourney.prompt_params import DEFAULTS, LONGEST, Params, params_of, words_of
from midjourney.prompts import ALIASES, KINDS, NAMES, described, parse, with_param, without_param
from midjourney.requests import Action, Cancel, Imagine, Modal, Request, Shorten, encode_request, prompt_in
from midjourney.types import Properties, Task

CORPUS = Path(__file__).parent.parent / "corpus"


@pytest.mark.parametrize(
    ("prompt", "ar"),
    [
        ("a cat --ar 16:9", "16:9"),
        ("a cat --aspect 1920:1080", "16:9"),
        ("a cat --AR 16:9", "16:9"),
        ("a cat --ar16:9", "16:9"),
        ("a cat --ar=16:9", "16:9"),
        ("a cat —ar 16:9", "16:9"),
        ("a cat –aspect 32:18 --v 7", "16:9"),
        ("a cat--ar 16:9", "16:9"),
        ("a cat --ar 16:9, --v 7", "16:9"),
        ("a cat", "1:1"),
        ("a cat --ar wide", True),
        ("", None),
    ],
)
def test_the_ratio_is_one_text_whatever_its_spelling(prompt: str, ar: object) -> None:
    """Reduced; 1:1 is Midjourney's default, but an empty prompt has no ratio."""
    assert params_of(prompt).ar == ar
    assert params_of(prompt).aspect == ar


@pytest.mark.parametrize(
    ("prompt", "name", "value"),
    [
        ("x --v 6.1", "version", 6.1),
        ("x --version 7", "v", 7),
        ("x --niji 6", "niji", 6),
        ("x --s 250", "stylize", 250),
        ("x --stylize 250", "s", 250),
        ("x", "stylize", 100),
        ("x --c 10 --chaos 20", "chaos", 20),
        ("x --q .5", "quality", 0.5),
        ("x --w 1000", "weird", 1000),
        ("x --iw 1.5", "iw", 1.5),
        ("x --no cats, dogs --v 7", "no", "cats, dogs"),
        ("x --seed 4294967295", "seed", 4294967295),
        ("x --stop 80", "stop", 80),
        ("x --tile", "tile", True),
        ("x", "tile", False),
        ("x --raw", "raw", True),
        ("x --style raw", "raw", True),
        ("x --style cute", "style", "cute"),
        ("x --sref https://a/b.png https://c/d.png --sw 50", "sref", "https://a/b.png https://c/d.png"),
        ("x --sref random", "sref", "random"),
        ("x --cref https://a/b.png --cw 20", "cw", 20),
        ("x --p abc def", "profile", "abc def"),
        ("x --p", "p", True),
        ("x --repeat 4", "r", 4),
        ("x --turbo", "turbo", True),
        ("x --draft", "draft", True),
        ("x --motion high --loop", "motion", "high"),
        ("x --oref https://a/b --ow 400", "ow", 400),
        ("x --exp 25", "exp", 25),
        ("x --bs 2", "bs", 2),
        ("x --zoom 1.8", "zoom", 1.8),
        ("x", "zoom", None),
        ("x --future 3 words", "future", "3 words"),
        ("x --seed 1" + "0" * 5000, "seed", "1" + "0" * 5000),
        ("x " * LONGEST, "ar", None),
    ],
)
def test_values_are_numbers_texts_and_flags(prompt: str, name: str, value: object) -> None:
    """Under every name that the parameter has. The last counts; an unknown one keeps its text."""
    found = getattr(params_of(prompt), name)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a cat --ar 3:2 --v 7", "a cat"),
        ("https://x.y/z.png <https://s.mj.run/abc> a  cat\n--v 7", "a cat"),
        ("a --v 7 cat", "a cat"),
        ("a well--known cat", "a well--known cat"),
        ("a cat — the fluffy one", "a cat — the fluffy one"),
        ("a cat —the fluffy one", "a cat —the fluffy one"),
        ("red::2 cat::-.5 --no dogs", "red::2 cat::-.5"),
        ("--tile a cat", "a cat"),
        ("--niji a cat", "a cat"),
        ("see https://x/y--zoom 2", "see 2"),
        ("", ""),
    ],
)
def test_words_are_the_text_without_parameters_and_links(prompt: str, words: str) -> None:
    """With one space between them."""
    assert words_of(prompt) == words


@pytest.mark.parametrize(
    ("prompt", "zoomed"),
    [
        ("a cat", "a cat --zoom 1.6"),
        ("a cat --zoom 1.8", "a cat --zoom 1.6"),
        ("a cat --zoom 1.8 --ar 3:2", "a cat --zoom 1.6 --ar 3:2"),
        ("a cat --ar 3:2 --v 7 --zoom 1.8", "a cat --ar 3:2 --v 7 --zoom 1.6"),
        ("a cat --zoom=2", "a cat --zoom 1.6"),
        ("a cat --zoom2", "a cat --zoom 1.6"),
        ("a cat —zoom 2", "a cat --zoom 1.6"),
        ("a cat –zoom 2", "a cat --zoom 1.6"),
        ("a cat --ZOOM 2", "a cat --zoom 1.6"),
        ("a cat--zoom 2", "a cat --zoom 1.6"),
        ("a cat --zoom 2 --zoom 1.5", "a cat --zoom 1.6"),
        ("a --zoom 2 cat --v 7", "a cat --zoom 1.6 --v 7"),
        ("a cat --zoom", "a cat --zoom 1.6"),
        ("a zoom --no zoom", "a zoom --no zoom --zoom 1.6"),
        ("", "--zoom 1.6"),
    ],
)
def test_a_parameter_is_there_once_and_the_new_one(prompt: str, zoomed: str) -> None:
    """Wherever it was, and however it was written."""
    assert with_param(prompt, "zoom", 1.6) == zoomed


@pytest.mark.parametrize(
    ("name", "value", "made"),
    [
        ("aspect", "16:9", "x --tile --aspect 16:9 --no a, b"),
        ("ar", "16:9", "x --tile --ar 16:9 --no a, b"),
        ("tile", False, "x --ar 3:2 --no a, b"),
        ("tile", True, "x --tile --ar 3:2 --no a, b"),
        ("ar", None, "x --tile --no a, b"),
        ("no", "c d", "x --tile --ar 3:2 --no c d"),
        (
            "sref",
            ["https://a/b", "https://c/d"],
            "x --tile --ar 3:2 --no a, b --sref https://a/b https://c/d",
        ),
        ("seed", 4294967295, "x --tile --ar 3:2 --no a, b --seed 4294967295"),
        ("zoom", 2.0, "x --tile --ar 3:2 --no a, b --zoom 2"),
        ("profile", True, "x --tile --ar 3:2 --no a, b --profile"),
    ],
)
def test_any_parameter_can_be_set(name: str, value: Any, made: str) -> None:
    """By any of its names; false and none remove it."""
    assert with_param("x --tile --ar 3:2 --no a, b", name, value) == made


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("zom", 1.6, "unknown parameter 'zom'. Did you mean \"zoom\"?"),
        ("zoom", "1.6 --repeat 40", "--zoom takes no other parameters"),
        ("no", "cats —repeat 40", "--no takes no other parameters"),
        ("zoom", "wide", "--zoom needs a number"),
        ("zoom", "1.6x", "--zoom needs a number"),
        ("zoom", True, "--zoom needs a value"),
        ("ar", "16/9", "--ar needs a ratio"),
        ("tile", "yes", "--tile takes no value"),
        ("style", "a b", "--style takes one word"),
    ],
)
def test_what_a_parameter_cannot_be_is_refused(name: str, value: Any, told: str) -> None:
    """A value that brings parameters of its own, as a stranger's text may, too."""
    with pytest.raises(ValueError, match=re.escape(told)):
        with_param("a cat", name, value)


def test_without_a_parameter() -> None:
    """In any spelling; what has none of them stays as it is, to the byte."""
    assert without_param("a  cat --ar 3:2 --aspect 1:1 --s 5", "ar", "stylize") == "a  cat"
    assert without_param("a  cat\n--v 7 ", "ar") == "a  cat\n--v 7 "
    assert without_param("a --style raw --tile", "raw") == "a --tile"
    assert without_param("a --no x --zoom 2 y", "zoom") == "a y --no x"
    with pytest.raises(ValueError, match="unknown parameter 'aspct'"):
        without_param("a cat", "aspct")


def test_every_alias_and_default_is_of_a_known_parameter() -> None:
    """The tables fit together, and no name means two things."""
    assert set(ALIASES.values()) <= set(KINDS)
    assert not set(ALIASES) & set(KINDS)
    assert set(DEFAULTS) <= set(KINDS)
    assert not [name for name in NAMES if hasattr(dict, name)]


def test_params_read_as_a_mapping_too() -> None:
    """For names that are not known yet, and for templates that list them."""
    params = params_of("x --future 3")
    assert (params["future"], "zoom" in params, params["aspect"]) == ("3", False, "1:1")
    assert dict(params) == DEFAULTS | {"future": "3"}
    assert Params({}).tile is None


PIECES = st.sampled_from(
    [
        "a cat",
        "--",
        "—",
        "–",
        "--zoom",
        "--zoom 2",
        "--no a, b",
        "--tile",
        "--ar 3:2",
        "--x",
        "=",
        "\n",
        "https://x/y--v 7",
    ]
)
PROMPTS = st.one_of(
    st.text(max_size=60), st.lists(PIECES, max_size=8).map(" ".join), st.lists(PIECES).map("".join)
)


@given(PROMPTS)
def test_a_prompt_keeps_its_words_whatever_is_set(prompt: str) -> None:
    """Never raises; set twice is set once; set and removed leaves the other parameters in their order."""
    read = parse(prompt)
    once = with_param(prompt, "zoom", 1.6)
    assert parse(once).words == read.words
    assert [one.value for one in parse(once).parameters if one.name == "zoom"] == ["1.6"]
    assert with_param(once, "zoom", 1.6) == once
    others = [one.text for one in read.parameters if one.name != "zoom"]
    assert [one.text for one in parse(without_param(once, "zoom")).parameters] == others


STRANGE = [
    "-",
    "--",
    "--a ",
    "--zoom 2 ",
    "—",
    "a ",
    "[a](http://",
    "--a=",
    "a--zoom=2 ",
    "--ar16:9 ",
    "https://",
    "1️⃣ [",
    "1. \n",
]


@pytest.mark.parametrize("unit", STRANGE)
@pytest.mark.parametrize("read", [lambda text: with_param(text, "zoom", 2), parse, described])
def test_strangers_prompts_take_time_in_proportion(unit: str, read: Callable[[str], object]) -> None:
    """Four times the text takes about four times as many steps, not sixteen. Steps are lines that Python runs; the patterns
    of `re` have no nested repetition."""
    few, many = (_lines(read, (unit * size)[:size]) for size in (1000, 4000))
    assert many <= 5 * few + 100


def _lines(read: Callable[[str], object], text: str) -> int:
    count = 0

    def count_lines(_frame: object, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return count_lines

    before = sys.gettrace()
    sys.settrace(count_lines)
    try:
        read(text)
    finally:
        sys.settrace(before)
    return count


FOUR = ("Cat --ar 5:4", "Cat2 --ar 5:4", "Cat3 --ar 5:4", "Cat4 --ar 5:4")


@pytest.mark.parametrize("mark", ["{0}\ufe0f\u20e3 ", "{0}\u20e3", "{0}. ", "{0}) ", "{0}、 ", ""])
@pytest.mark.parametrize("between", ["\n\n", "\n"])
def test_a_describe_has_four_clean_prompts(mark: str, between: str) -> None:
    """With emoji or what relays make of them."""
    text = between.join(mark.format(number) + prompt for number, prompt in enumerate(FOUR, 1))
    task = Task(id="1", status="SUCCESS", action="DESCRIBE", prompt=text)
    assert task.described == FOUR
    assert Task(id="1", status="SUCCESS", action="IMAGINE", prompt=text).described == ()


def test_links_and_line_breaks_are_taken_out_of_a_describe() -> None:
    """Discord's message links the styles that it names; a prompt may run over lines."""
    text = "1️⃣ a cat in the style of [a painter](https://x/y) --ar 1:1\n2️⃣ two\ncats [sic] 3️⃣\n4️⃣ 4 cats"
    assert described(text) == ("a cat in the style of a painter --ar 1:1", "two cats [sic]", "4 cats")
    assert described("") == ()


@pytest.mark.parametrize("name", ["plus-doc-describe-task.json", "novicezk-v1.x-describe-task.json"])
def test_recorded_describes(name: str) -> None:
    """Plus has the text in its properties, novicezk 1 in the prompt."""
    found = decode_task((CORPUS / name).read_bytes()).described
    assert len(found) == 4
    assert [text[-8:] for text in found] == ["--ar 5:4"] * 4


def test_a_task_shows_the_prompt_that_midjourney_ran() -> None:
    """The final prompt if the upstream tells it, else its translation, else what was submitted."""
    task = Task(
        id="1",
        status="SUCCESS",
        prompt="x --ar 1:2",
        properties=Properties(final_prompt="a cat --ar 3:2 --v 7"),
    )
    assert (task.params.ar, task.params.v, task.words) == ("3:2", 7, "a cat")
    assert Task(id="1", status="SUCCESS", prompt="猫 --ar 1:2").words == "猫"


def test_requests_have_a_prompt_or_none() -> None:
    """A press and a cancel have none."""
    asked: list[Request] = [
        Imagine(prompt="a"),
        Modal(task_id="t", prompt="b"),
        Shorten(prompt="c"),
        Cancel(task_id="t"),
    ]
    assert [prompt_in(encode_request(one)) for one in asked] == ["a", "b", "c", ""]
    assert prompt_in(encode_request(Action(task_id="t", custom_id="x", zoom=1.8))) == prompt_in(b"") == ""
