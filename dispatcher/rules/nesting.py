"""Refuses expressions that are nested so deeply that Python could not parse or run them, wherever they are evaluated.

Jinja calls itself for each level. Without a limit of ours an expression would pass in one process, and fail in another one whose stack is
fuller.
"""

from __future__ import annotations

import re

from jinja2 import nodes

from dispatcher.plugins.errors import RuleError
from dispatcher.rules.parts_of import children

MOST_BRACKETS = 30
"""Brackets within each other; each costs fourteen calls while it is parsed."""
MOST_LEVELS = 200
"""Parts within each other; each costs up to four calls. The terms of `a and b and c` count as within each other."""
MOST_BLOCKS = 15
"""Blocks such as `{% for … %}` within each other; Python allows twenty."""

_BLOCK = re.compile(r"\{[{%].*?[}%]\}", re.DOTALL)
_TEXT = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""", re.DOTALL)


def check_brackets(what: str, source: str) -> None:
    """Raise `RuleError` if an expression cannot be parsed for its brackets. `what` it is: "condition" or "text"."""
    for code in [source] if what == "condition" else _BLOCK.findall(source):
        depth = 0
        for sign in _TEXT.sub("", code):
            depth += (sign in "([{") - (sign in ")]}")
            if depth > MOST_BRACKETS:
                raise RuleError(
                    f"the {what} is nested too deeply: it has more than {MOST_BRACKETS} brackets in each other"
                )


def check_levels(what: str, tree: nodes.Node) -> None:
    """Raise `RuleError` if a parsed expression is nested too deeply to be compiled."""
    left: list[tuple[nodes.Node, int, int]] = [(tree, 0, 0)]
    while left:
        node, level, blocks = left.pop()
        blocks += isinstance(node, nodes.Stmt) and not isinstance(node, nodes.Output)
        if level > MOST_LEVELS or blocks > MOST_BLOCKS:
            raise RuleError(
                f"the {what} is nested too deeply: at most {MOST_LEVELS} parts, and {MOST_BLOCKS} blocks, can be in each other"
            )
        left += [(child, level + 1, blocks) for child in children(node)]
