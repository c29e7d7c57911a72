"""Works out what a condition can be: true, false or unknown, for all values that its fields may have.

A field with few values has all of them; a number or a text has those that the condition compares it with, their neighbours, and one
that stands for all others. The condition is worked out for each combination. A part that is not simple (a filter, a call, a search in
a text) is unknown, and so is whatever depends on it.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, TypeGuard

from jinja2 import nodes

from dispatcher.rules.lint.fields import Field, field_of, path_of
from dispatcher.rules.parts_of import children, parts_of


class Unknown(Enum):
    """The value of a part that is not worked out."""

    UNKNOWN = "unknown"


UNKNOWN = Unknown.UNKNOWN
Value = str | int | float | bool | None | Unknown | tuple[object, ...]
Domain = tuple[Value, ...]

OTHER = "\0other"
"""Stands for each text with which a condition compares nothing."""
LARGE = 10**6
"""Stands for each number beyond those in a condition."""
MOST_STEPS = 100_000
"""Combinations of values, times the parts of a condition: a tenth of a second. Beyond that everything is unknown."""
COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gteq": operator.ge,
    "lt": operator.lt,
    "lteq": operator.le,
}
ORDERS = frozenset({"gt", "gteq", "lt", "lteq"})


class _NoValue(Exception):
    """A missing value is used, so that the whole condition is false."""


def outcomes(tree: nodes.Expr, facts: Mapping[str, Domain]) -> set[bool | Unknown]:
    """Everything that a condition can be, if the fields named in `facts` have no other values than those."""
    written = constants(tree)
    domains = {path: facts[path] if path in facts else _domain(path, written) for path in _paths(tree)}
    known = {path: domain for path, domain in domains.items() if domain}
    combinations = math.prod(map(len, known.values()))
    if combinations * (1 + sum(1 for _ in parts_of(tree, nodes.Node))) > MOST_STEPS:
        return {UNKNOWN}
    return {
        _outcome(tree, dict(zip(known, values, strict=True))) for values in itertools.product(*known.values())
    }


def _outcome(tree: nodes.Expr, values: Mapping[str, Value]) -> bool | Unknown:
    try:
        value = _value(tree, values)
    except _NoValue:
        return False
    return value if isinstance(value, Unknown) else bool(value)


def _paths(tree: nodes.Expr) -> list[str]:
    """The fields of which a value may change the outcome. A search in a field is unknown whatever it contains."""
    searched = {id(one.expr) for one in parts_of(tree, nodes.Operand) if one.op in ("in", "notin")}
    return sorted({path_of(node) for node in lookups(tree) if id(node) not in searched})


def lookups(tree: nodes.Node) -> Iterator[nodes.Expr]:
    """Each lookup of a field, outermost first: of `task.properties.remix` not also `task.properties`."""
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, nodes.Getattr) and path_of(node):
            yield node
        else:
            left += children(node)[::-1]


def constants(tree: nodes.Node) -> list[Value]:
    """Each text and number that is written in an expression."""
    found = [node.value for node in [tree, *parts_of(tree, nodes.Const)] if isinstance(node, nodes.Const)]
    negated = [node.node for node in [tree, *parts_of(tree, nodes.Neg)] if isinstance(node, nodes.Neg)]
    return [*found, *(-node.value for node in negated if _is_number(node))]


def _is_number(node: nodes.Expr) -> TypeGuard[nodes.Const]:
    return isinstance(node, nodes.Const) and isinstance(node.value, int | float)


def _domain(path: str, written: list[Value]) -> Domain:
    field = field_of(path)
    if field is None:
        return ()
    values = _values(path, field, written)
    return (*values, None) if field.may_be_none else values


def _values(path: str, field: Field, written: list[Value]) -> Domain:
    if field.type is bool:
        return (False, True)
    if field.type is str:
        if field.words:
            return tuple(sorted(field.words))
        return ("", OTHER, *sorted({value for value in written if isinstance(value, str) and value}))
    numbers = {value for value in written if isinstance(value, int | float) and not isinstance(value, bool)}
    near = {number + step for number in numbers for step in (-1, 0, 1)} | {0, 1, LARGE}
    least, most = _RANGES.get(path, (0, None))
    return tuple(sorted(value for value in near if value >= least and (most is None or value <= most)))


_RANGES: Mapping[str, tuple[int, int | None]] = {
    "task.image_number": (1, 4),
    "submission.priority": (-LARGE, None),
    "event.progress": (-1, None),
    "task.progress": (-1, None),
}
"""The least and most values of numbers; others are not negative. A sender may write any percentage."""


def _value(node: nodes.Expr, values: Mapping[str, Value]) -> Value:
    evaluate = _VALUES.get(type(node))
    return evaluate(node, values) if evaluate is not None else UNKNOWN


def _not(node: nodes.Not, values: Mapping[str, Value]) -> Value:
    inner = _value(node.node, values)
    return UNKNOWN if isinstance(inner, Unknown) else not inner


def _and(node: nodes.And, values: Mapping[str, Value]) -> Value:
    left = _value(node.left, values)
    if not isinstance(left, Unknown):
        return _value(node.right, values) if left else left
    try:
        right = _value(node.right, values)
    except _NoValue:
        return False  # whatever the left part is
    return UNKNOWN if isinstance(right, Unknown) or right else False


def _or(node: nodes.Or, values: Mapping[str, Value]) -> Value:
    left = _value(node.left, values)
    if not isinstance(left, Unknown) and left:
        return left
    try:
        right = _value(node.right, values)
    except _NoValue:
        if isinstance(left, Unknown):
            return UNKNOWN
        raise
    if not isinstance(left, Unknown):
        return right
    return True if not isinstance(right, Unknown) and right else UNKNOWN


def _list(node: nodes.List | nodes.Tuple, values: Mapping[str, Value]) -> Value:
    items = tuple(_value(item, values) for item in node.items)
    return UNKNOWN if UNKNOWN in items else items


def _test(node: nodes.Test, values: Mapping[str, Value]) -> Value:
    inner = _value(node.node, values)
    return UNKNOWN if isinstance(inner, Unknown) or node.name != "none" else inner is None


def _compared(node: nodes.Compare, values: Mapping[str, Value]) -> Value:
    left, result = _value(node.expr, values), True
    sides = [node.expr, *(operand.expr for operand in node.ops)]
    if sum(isinstance(side, nodes.Getattr) for side in sides) > 1:
        return UNKNOWN  # the values of two fields stand for all others, each in its own way
    for operand in node.ops:
        right = _value(operand.expr, values)
        if isinstance(left, Unknown) or isinstance(right, Unknown):
            return UNKNOWN
        one = _one(operand.op, left, right)
        if isinstance(one, Unknown):
            return UNKNOWN
        result, left = result and one, right
    return result


def _one(name: str, left: Value, right: Value) -> bool | Unknown:
    if name in ("in", "notin"):
        if not isinstance(right, tuple):
            return UNKNOWN
        return (left in right) == (name == "in")
    if name in ORDERS:
        if left is None or right is None:
            raise _NoValue
        if isinstance(left, str | tuple) or isinstance(right, str | tuple):
            return UNKNOWN
    return bool(COMPARISONS[name](left, right))


_VALUES: Mapping[type[nodes.Expr], Callable[[Any, Mapping[str, Value]], Value]] = {
    nodes.Const: lambda node, _values: node.value,
    nodes.Getattr: lambda node, values: values.get(path_of(node), UNKNOWN),
    nodes.Not: _not,
    nodes.Neg: lambda node, _values: -node.node.value if _is_number(node.node) else UNKNOWN,
    nodes.And: _and,
    nodes.Or: _or,
    nodes.Compare: _compared,
    nodes.List: _list,
    nodes.Tuple: _list,
    nodes.Test: _test,
}
"""How each kind of node is worked out; all others are unknown."""
