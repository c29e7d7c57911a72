"""Explains why a condition cannot be evaluated because a value is missing: which value, and which part of the condition uses it.

A missing value is none (a task without a percentage), or not there at all (`task.extra.seed` of a payload without a `seed`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jinja2
from jinja2 import nodes

from dispatcher.rules.why import Evaluate, words


def missing(tree: nodes.Expr, names: Mapping[str, Any], evaluate: Evaluate) -> str:
    """Explain it, as `task.progress has no value, so task.progress > 50 is false`; "" if the condition fails for another reason.

    Only for a condition that has no value, or whose evaluation fails.
    """
    part = _first_without_value(tree, names, evaluate)
    value = _missing_value(part, names, evaluate)
    if value is None:
        return ""
    if value is part:
        return f"{words(part)} has no value, which counts as false"
    return f"{words(value)} has no value, so {words(part)} is false"


def _first_without_value(tree: nodes.Expr, names: Mapping[str, Any], evaluate: Evaluate) -> nodes.Expr:
    """The first part of an `and` that has no value."""
    while isinstance(tree, nodes.And):
        is_left = _problem(tree.left, names, evaluate) is not None
        tree = tree.left if is_left else tree.right
    return tree


def _missing_value(node: nodes.Expr, names: Mapping[str, Any], evaluate: Evaluate) -> nodes.Expr | None:
    """The part whose missing value is the reason that `node` has no value."""
    problem = _problem(node, names, evaluate)
    for part in _parts(node):
        if isinstance(_problem(part, names, evaluate), Exception):
            return _missing_value(part, names, evaluate)
    if not isinstance(problem, TypeError | jinja2.UndefinedError):
        return None if isinstance(problem, Exception) else node
    if isinstance(node, nodes.Call):
        return _missing_owner(node, names, evaluate)
    return next((part for part in _parts(node) if _is_missing(part, names, evaluate)), None)


def _missing_owner(call: nodes.Call, names: Mapping[str, Any], evaluate: Evaluate) -> nodes.Expr | None:
    """What a call misses: an argument, or the value whose method it is. That a value has no such method is a mistake."""
    method = call.node
    owners = [method.node] if isinstance(method, nodes.Getattr) else []
    return next((part for part in [*owners, *call.args] if _is_missing(part, names, evaluate)), None)


class _NoValue:
    """Stands for the result of an expression that gives nothing, though its evaluation does not fail."""


def _problem(node: nodes.Expr, names: Mapping[str, Any], evaluate: Evaluate) -> Exception | _NoValue | None:
    """What evaluating a node by itself raises; `_NoValue` if it gives nothing, None if it has a value."""
    try:
        return _NoValue() if isinstance(evaluate(node, names), jinja2.Undefined) else None
    except MemoryError:
        raise
    except Exception as error:  # whatever the expression raises
        return error


def _is_missing(node: nodes.Expr, names: Mapping[str, Any], evaluate: Evaluate) -> bool:
    value = evaluate(node, names)
    return value is None or isinstance(value, jinja2.Undefined)


def _parts(node: nodes.Node) -> Iterator[nodes.Expr]:
    """The expressions of which a node is made, in the order in which they are evaluated."""
    for child in node.iter_child_nodes():
        if isinstance(child, nodes.Expr):
            yield child
        else:
            yield from _parts(child)
