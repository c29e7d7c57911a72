"""Patterns of rules mean what Python's do, and take time in proportion to the text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.rules.patterns import MOST_REMEMBERED, Pattern, compiled

SAME = [
    "a+b", "(a|b)*c", "^a.c$", "a{2,3}b", "(ab){2}", "[^a]b", r"\bcat\b", "a?b?c?$", "(?i)CAT", "x|y|", "", "a*", "[a-c]{2}",
    r"\d+", r"a\Bb", "^$", "(?:a|ab)(c|bcd)", "[]a]", r"[a\]-]+x", "(a*)*b", "(|a)+b$", r"\w+\s\w+", "a{2}", "a{2,}b", "(?P<x>a)b",
    r"\.", "a.b", r"[\d\s]a", "[^]]a", "a{x", "a+?b", r"\Aa", r"b\Z", "[é-ü]", r"[&|~-]",
]  # fmt: skip


@pytest.mark.parametrize("pattern", SAME)
def test_a_pattern_means_what_it_means_in_python(pattern: str) -> None:
    """But `$` is the end, and not also before a last line break."""
    in_python = re.compile(pattern.replace("$", r"\Z"))
    ours = compiled(pattern)

    @given(st.text(alphabet="abcxCATct ]-1.é\n{", max_size=12))
    def same(text: str) -> None:
        assert ours.search(text) == bool(in_python.search(text))

    same()


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        (r"(a)\1", r"\1 is not supported: back-references and look-around can take for ever"),
        ("a(?=b)", "at character 3: (?= is not supported"),
        ("(?<!a)b", "(?< is not supported"),
        ("(a", "at character 3: a ( is not closed"),
        ("a)", "at character 2: there is no ( for this )"),
        ("[a", "at character 3: it ends too early"),
        ("[z-a]", "z-a is not a range"),
        ("*a", "at character 1: nothing to repeat"),
        ("^*", "nothing to repeat"),
        ("a**", "repeated already"),
        ("a\\", "it ends too early"),
        (r"\q", r"\q is unknown"),
        ("a{3,2}", "is not from few to many"),
        ("a{300}", "up to 250"),
        ("(a{99}){99}", "too large: it needs more than 250 steps"),
        ("((((){99}){99}){99}){99}", "too large"),
        ("(" * 40 + ")" * 40, "more than 30 parentheses"),
        ("a" * 1001, "1001 characters, more than 1000"),
        (5, "the pattern 5 is not a text"),
    ],
)
def test_what_is_wrong_is_named(pattern: object, told: str) -> None:
    """With the place; nothing that could take for ever is accepted."""
    with pytest.raises(ValueError, match=re.escape(told)):
        compiled(pattern)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a+)+b", "a"),
        ("(a|a)*b", "a"),
        ("(a|ab|b)*c", "ab"),
        ("a[ab]{200}c", "aab abb"),
        (r"(\w+\s?)*$!", "a b"),
    ],
)
def test_a_search_takes_steps_in_proportion_to_the_text(
    pattern: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for patterns on which engines that backtrack never end. A move is computed at most once per character."""
    moves = 0
    move: Callable[..., Any] = Pattern._move

    def counted(*arguments: Any) -> Any:
        nonlocal moves
        moves += 1
        return move(*arguments)

    monkeypatch.setattr(Pattern, "_move", counted)
    long = (text * 16_000)[:16_000]
    assert not compiled(pattern).search(long)
    assert moves <= len(long) + 1


def test_what_is_remembered_is_bounded() -> None:
    """Texts of strangers cannot fill the memory."""
    pattern = compiled("a[ab]{12}c")
    for number in range(2**14):
        pattern.search(f"{number:014b}".replace("0", "a").replace("1", "b"))
        assert len(pattern._moves) <= MOST_REMEMBERED
