"""Explains why a condition is false: its first false part, as written in the rule, with the values it was evaluated with.

Jinja's nodes have no column numbers, so a part's source is rebuilt from its node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, Protocol

from jinja2 import Undefined, nodes

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
"""How many characters of a value are shown: prompts are long."""


class Evaluate(Protocol):
    """Evaluates a node."""

    def __call__(self, node: nodes.Expr, names: Mapping[str, Any]) -> Any:
        """Evaluate `node` with `names`. May raise what the expression raises."""
        ...


_MARK = "macro"
"""The attribute of a node that stands in the place of a macro."""


def mark(node: nodes.Expr, written: str) -> None:
    """Note that a part stands where the use of a macro was written."""
    setattr(node, _MARK, written)


def macro_at(node: nodes.Node) -> str:
    """The use of a macro in whose place a part stands, such as "wide('16:9')"; "" if it stands in none."""
    return str(getattr(node, _MARK, ""))


def why_not(tree: nodes.Expr, names: Mapping[str, Any], evaluate: Evaluate) -> str:
    """Explain a false condition, as `chain.depth == 0 is false (chain.depth = 1)`. Only correct for a tree that is false. Of a macro, as
    `is_final is false: task.is_upscale is False`."""
    macros: list[str] = []
    part = _first_false(tree, names, evaluate, macros)
    return "".join(f"{macro} is false: " for macro in macros) + _explained(part, names, evaluate)


def _explained(part: nodes.Expr, names: Mapping[str, Any], evaluate: Evaluate) -> str:
    values = ", ".join(
        f"{words(leaf)} = {_shown(evaluate(leaf, names))}" for leaf in _leaves(part) if leaf is not part
    )
    if isinstance(part, nodes.Getattr | nodes.Name):
        return f"{_inside(part)} is {_shown(evaluate(part, names))}"
    return f"{_inside(part)} is false" + (f" ({values})" if values else "")


def _first_false(
    tree: nodes.Expr, names: Mapping[str, Any], evaluate: Evaluate, macros: list[str]
) -> nodes.Expr:
    """The first false part of an `and`. The whole of an `or`, whose parts are all false. Adds the macros that it is in."""
    while True:
        if macro := macro_at(tree):
            macros.append(macro)
        if not isinstance(tree, nodes.And):
            return tree
        tree = tree.right if evaluate(tree.left, names) else tree.left


def _leaves(node: nodes.Node) -> Iterator[nodes.Expr]:
    """Each name that a part looks up, with its attributes, once. Of a method that is called, what it returned; of a part that is
    only a call, what it was called on. Of a macro, what it came to."""
    seen: set[str] = set()

    def walk(inner: nodes.Node) -> Iterator[nodes.Expr]:
        if inner is node and isinstance(inner, nodes.Call) and isinstance(inner.node, nodes.Getattr):
            for child in (inner.node.node, *inner.args, *inner.kwargs):
                yield from walk(child)
            return
        is_macro = bool(macro_at(inner)) and inner is not node
        if isinstance(inner, nodes.Call | nodes.Getattr | nodes.Getitem | nodes.Name) or is_macro:
            assert isinstance(inner, nodes.Expr)
            if words(inner) not in seen:
                seen.add(words(inner))
                yield inner
            return
        for child in inner.iter_child_nodes():
            yield from walk(child)

    yield from walk(node)


def _shown(value: Any) -> str:
    text = "missing" if isinstance(value, Undefined) else repr(_bare(value))
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _bare(value: Any) -> Any:
    """The value with the fields of records as tables."""
    if isinstance(value, SimpleNamespace):
        return {name: _bare(inner) for name, inner in vars(value).items()}
    return [_bare(inner) for inner in value] if isinstance(value, list) else value


def words(node: nodes.Node) -> str:
    """The source of an expression, as a rule would have it."""
    return macro_at(node) or _inside(node)


def _inside(node: nodes.Node) -> str:
    """The same; of what stands in the place of a macro, what the macro says."""
    for kind, write in _WRITTEN.items():
        if isinstance(node, kind):
            return write(node)
    return "…"


def _compared(node: nodes.Compare) -> str:
    return words(node.expr) + "".join(
        f" {_OPERATORS[operand.op]} {words(operand.expr)}" for operand in node.ops
    )


def _calculated(node: nodes.BinExpr) -> str:
    return f"{_in_brackets(node.left)} {_BINARY[type(node)]} {_in_brackets(node.right)}"


def _chosen(node: nodes.CondExpr) -> str:
    otherwise = f" else {words(node.expr2)}" if node.expr2 else ""
    return f"{words(node.expr1)} if {words(node.test)}{otherwise}"


def _filtered(node: nodes.Filter) -> str:
    return f"{words(node.node) if node.node else ''}|{node.name}{_arguments(node)}"


_WRITTEN: dict[type[nodes.Node], Callable[[Any], str]] = {
    nodes.Name: lambda node: str(node.name),
    nodes.Const: lambda node: repr(node.value),
    nodes.Getattr: lambda node: f"{words(node.node)}.{node.attr}",
    nodes.Getitem: lambda node: f"{words(node.node)}[{words(node.arg)}]",
    nodes.Not: lambda node: f"not {_in_brackets(node.node)}",
    nodes.Neg: lambda node: f"-{words(node.node)}",
    nodes.Compare: _compared,
    nodes.BinExpr: _calculated,
    nodes.Concat: lambda node: " ~ ".join(words(part) for part in node.nodes),
    nodes.Filter: _filtered,
    nodes.Test: lambda node: f"{words(node.node)} is {node.name}{_arguments(node)}",
    nodes.Call: lambda node: f"{words(node.node)}{_arguments(node) or '()'}",
    nodes.List: lambda node: f"[{', '.join(words(part) for part in node.items)}]",
    nodes.Tuple: lambda node: f"({', '.join(words(part) for part in node.items)})",
    nodes.CondExpr: _chosen,
}
"""How each kind of node is written; the first match counts."""


def _in_brackets(node: nodes.Expr) -> str:
    is_whole = bool(macro_at(node)) or not isinstance(node, nodes.And | nodes.Or)
    return words(node) if is_whole else f"({words(node)})"


def _arguments(node: nodes.Filter | nodes.Test | nodes.Call) -> str:
    given = [words(part) for part in node.args] + [f"{part.key}={words(part.value)}" for part in node.kwargs]
    return f"({', '.join(given)})" if given else ""
