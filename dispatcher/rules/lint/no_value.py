"""Comparisons that need a value which may be missing: the whole condition is false then, which a `not` or an `or` does not show."""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import nodes

from dispatcher.rules.lint.caution import Caution, Subject
from dispatcher.rules.lint.fields import field_of, path_of
from dispatcher.rules.lint.logic import ORDERS
from dispatcher.rules.parts_of import parts_of
from dispatcher.rules.why import words

_NEVER_NONE = {"task.progressed": frozenset({"task.progress", "event.progress"})}
"""Fields that have a value on a signal, although they may be none elsewhere."""


def missing_values(subject: Subject) -> Iterator[Caution]:
    """A field that may be none, in a comparison by size or a calculation, without being asked for first."""
    tree = subject.condition
    if tree is None:
        return
    asked_for, signal = _asked_for(tree), subject.signal
    given: set[str] = set()
    for node in [tree, *parts_of(tree, nodes.Expr)]:
        for path in _needed(node):
            field = field_of(path)
            is_doubtful = field is not None and field.may_be_none and path not in _NEVER_NONE.get(signal, ())
            if is_doubtful and path not in asked_for and path not in given:
                given.add(path)
                yield Caution(
                    kind="no value",
                    key="if",
                    problem=f"{words(node)}: {path} may have no value on {signal}; the whole condition is false then",
                    remedy=f'If that is meant, write "{path} is not none and …"; otherwise {path} | default(0, true).',
                )


def _needed(node: nodes.Node) -> Iterator[str]:
    """The fields whose values an operation cannot do without."""
    if isinstance(node, nodes.Compare):
        left = node.expr
        for operand in node.ops:
            if operand.op in ORDERS:
                yield from filter(None, (path_of(left), path_of(operand.expr)))
            left = operand.expr
    elif isinstance(node, nodes.BinExpr) and not isinstance(node, nodes.And | nodes.Or):
        yield from filter(None, (path_of(node.left), path_of(node.right)))


def _asked_for(tree: nodes.Expr) -> set[str]:
    """The fields whose presence the condition asks for: by a test, or by being a part of it by themselves."""
    tests = [test.node for test in [tree, *parts_of(tree, nodes.Test)] if isinstance(test, nodes.Test)]
    operations = [tree, *parts_of(tree, nodes.And, nodes.Or, nodes.Not)]
    parts = [
        part
        for node in operations
        if isinstance(node, nodes.And | nodes.Or | nodes.Not)
        for part in node.iter_child_nodes()
    ]
    return {path for node in [*tests, *parts] if (path := path_of(node))}
