"""Filters for prompts in expressions: `with_param`, `without_param`, `params`, `words`, `match` and `slug`. For the confined process too."""

from __future__ import annotations

from functools import lru_cache

from jinja2 import nodes

from dispatcher.plugins.errors import RuleError
from dispatcher.rules.patterns import Pattern, compiled
from midjourney.file_names import slug
from midjourney.prompt_params import Params, params_of, words_of
from midjourney.prompts import Value, check_name, with_param, without_param


def _text(value: object) -> str:
    if value is None:
        raise RuleError("there is no prompt: the value is none")
    return str(value)  # raises for a value that is missing or too long


def _with_param(prompt: object, name: str, value: Value) -> str:
    return with_param(_text(prompt), name, value)


def _without_param(prompt: object, *names: str) -> str:
    return without_param(_text(prompt), *names)


def _params(prompt: object) -> Params:
    return params_of(_text(prompt))


def _words(prompt: object) -> str:
    return words_of(_text(prompt))


def _match(text: object, pattern: str) -> bool:
    return _pattern(pattern).search(_text(text))


def _slug(text: object) -> str:
    return slug(_text(text))


@lru_cache(64)
def _pattern(pattern: str) -> Pattern:
    return compiled(pattern)


FILTERS = {
    "with_param": _with_param,
    "without_param": _without_param,
    "params": _params,
    "words": _words,
    "match": _match,
    "slug": _slug,
}

LINEAR = frozenset({"with_param", "without_param", "params", "words", "slug"})
"""Filters that are worked out in place: they read a value once."""

MOST_LINEAR = 5
"""The most of them in an expression that is worked out in place: each takes about 10 ms for the longest value."""


_TAKES = {
    "with_param": (range(2, 3), "a name and a value: with_param('zoom', 1.6)"),
    "without_param": (range(1, 100), "names: without_param('ar', 'zoom')"),
    "match": (range(1, 2), "one pattern: match('cats?')"),
    "params": (range(1), "nothing in parentheses"),
    "words": (range(1), "nothing in parentheses"),
    "slug": (range(1), "nothing in parentheses"),
}


def check_filter(source: str, used: nodes.Filter) -> None:
    """Check the arguments that an expression writes literally. Raises `RuleError`."""
    if used.name not in _TAKES:
        return
    counts, takes = _TAKES[used.name]
    if len(used.args) not in counts or used.kwargs:
        raise RuleError(f"{source!r}: {used.name} takes {takes}")
    literal = [argument.value if isinstance(argument, nodes.Const) else None for argument in used.args]
    try:
        if used.name == "with_param":
            _check_with_param(*literal)
        for argument in literal if used.name in ("without_param", "match") else ():
            if argument is not None:
                (compiled if used.name == "match" else check_name)(argument)
    except ValueError as error:
        raise RuleError(f"{source!r}: {error}") from error


def _check_with_param(name: str | None, value: Value) -> None:
    if name is not None:
        check_name(name)
        with_param("", name, value)
