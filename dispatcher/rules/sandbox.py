"""Jinja's sandbox for expressions of rules: it parses them, and limits what their operators may produce."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from dispatcher.rules.prompt_filters import FILTERS

LONGEST = 10_000
"""The most characters or items that a repetition such as `"ab" * 3` may produce."""

LARGEST_BITS = 1_000
"""The most bits of a whole number that `*` and `**` may produce: about 300 digits, as large as a float can be."""


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with limits on products and powers. Jinja does not evaluate intercepted operators at compile time. It is not to optimize:
    it would look at every part again for each part around it, which is long for a condition with a hundred of them."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Evaluate `left operator right`. Raises `SecurityError` if the value would be too large."""
        if _is_too_large(operator, left, right):
            raise SecurityError(f"the result of {operator} would be too large")
        return super().call_binop(context, operator, left, right)


def _is_too_large(operator: str, left: Any, right: Any) -> bool:
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        return bits > LARGEST_BITS
    items, times = (right, left) if isinstance(left, int) else (left, right)
    return isinstance(items, Sized) and isinstance(times, int) and len(items) * times > LONGEST


environment = _Environment(undefined=jinja2.StrictUndefined, autoescape=False, optimized=False)
environment.globals = {}  # no range, no cycler: rules only read values
environment.filters.update(FILTERS)


def parsed(source: str) -> nodes.Expr:
    """Parse a condition. Raises `jinja2.TemplateError`."""
    parser = Parser(environment, source, state="variable")
    tree = parser.parse_expression()
    if not parser.stream.eos:
        raise jinja2.TemplateSyntaxError(f"unexpected {parser.stream.current.value!r}", 1)
    tree.set_environment(environment)
    return tree
