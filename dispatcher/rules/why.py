"""Why a condition said no: the part that did, in the words of the rule, with the values it was asked with.

Jinja's tree knows no columns, so a part is written again from the tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from jinja2 import nodes

_OPERATORS = {
    "eq": "==",
    "ne": "!=",
    "gt": ">",
    "gteq": ">=",
    "lt": "<",
    "lteq": "<=",
    "in": "in",
    "notin": "not in",
}
_BINARY = {
    nodes.Add: "+",
    nodes.Sub: "-",
    nodes.Mul: "*",
    nodes.Div: "/",
    nodes.FloorDiv: "//",
    nodes.Mod: "%",
    nodes.Pow: "**",
    nodes.And: "and",
    nodes.Or: "or",
}
LONGEST_VALUE = 80
"""Characters of a value that are shown: prompts are long."""


class Evaluate(Protocol):
    """The value of a node for some names."""

    def __call__(self, node: nodes.Expr, names: Mapping[str, Any]) -> Any:
        """Evaluate it. May raise what the expression raises."""
        ...


def why_not(tree: nodes.Expr, names: Mapping[str, Any], evaluate: Evaluate) -> str:
    """Such as `chain.depth == 0 is false (chain.depth = 1)`. Only right for a tree that is false."""
    part = _culprit(tree, names, evaluate)
    values = ", ".join(
        f"{words(leaf)} = {_shown(evaluate(leaf, names))}" for leaf in _leaves(part) if leaf is not part
    )
    if isinstance(part, nodes.Getattr | nodes.Name):
        return f"{words(part)} is {_shown(evaluate(part, names))}"
    return f"{words(part)} is false" + (f" ({values})" if values else "")


def _culprit(tree: nodes.Expr, names: Mapping[str, Any], evaluate: Evaluate) -> nodes.Expr:
    """The first part of an `and` that is false; of an `or`, all of them are."""
    while isinstance(tree, nodes.And):
        tree = tree.right if evaluate(tree.left, names) else tree.left
    return tree


def _leaves(node: nodes.Node) -> Iterator[nodes.Expr]:
    """What is looked up in a part, each once: names with their attributes."""
    seen: set[str] = set()

    def walk(at: nodes.Node) -> Iterator[nodes.Expr]:
        if isinstance(at, nodes.Getattr | nodes.Getitem | nodes.Name):
            if words(at) not in seen:
                seen.add(words(at))
                yield at
            return
        for child in at.iter_child_nodes():
            yield from walk(child)

    yield from walk(node)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def words(node: nodes.Node) -> str:
    """An expression as it is written in a rule."""
    match node:
        case nodes.Name():
            return str(node.name)
        case nodes.Const():
            return repr(node.value)
        case nodes.Getattr():
            return f"{words(node.node)}.{node.attr}"
        case nodes.Getitem():
            return f"{words(node.node)}[{words(node.arg)}]"
        case nodes.Not():
            return f"not {_in_brackets(node.node)}"
        case nodes.Neg():
            return f"-{words(node.node)}"
        case nodes.Compare():
            return words(node.expr) + "".join(f" {_OPERATORS[one.op]} {words(one.expr)}" for one in node.ops)
        case nodes.BinExpr():
            operator = _BINARY[type(node)]
            return f"{_in_brackets(node.left)} {operator} {_in_brackets(node.right)}"
        case nodes.Concat():
            return " ~ ".join(words(one) for one in node.nodes)
        case nodes.Filter():
            return f"{words(node.node) if node.node else ''}|{node.name}{_arguments(node)}"
        case nodes.Test():
            return f"{words(node.node)} is {node.name}{_arguments(node)}"
        case nodes.Call():
            return f"{words(node.node)}{_arguments(node) or '()'}"
        case nodes.List():
            return f"[{', '.join(words(one) for one in node.items)}]"
        case nodes.Tuple():
            return f"({', '.join(words(one) for one in node.items)})"
        case nodes.CondExpr():
            otherwise = f" else {words(node.expr2)}" if node.expr2 else ""
            return f"{words(node.expr1)} if {words(node.test)}{otherwise}"
        case _:
            return "…"


def _in_brackets(node: nodes.Expr) -> str:
    return f"({words(node)})" if isinstance(node, nodes.And | nodes.Or) else words(node)


def _arguments(node: nodes.Filter | nodes.Test | nodes.Call) -> str:
    given = [words(one) for one in node.args] + [f"{one.key}={words(one.value)}" for one in node.kwargs]
    return f"({', '.join(given)})" if given else ""
