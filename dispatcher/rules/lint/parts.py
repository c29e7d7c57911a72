"""Takes a condition apart: its parts that must all be true, and its comparisons of a field with what is written beside it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from jinja2 import nodes

from dispatcher.rules.lint.fields import path_of
from dispatcher.rules.lint.logic import constants
from dispatcher.rules.parts_of import parts_of


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison of a field with constants: `operator` is Jinja's name for it, and `node` the whole comparison."""

    path: str
    operator: str
    constants: list[object]
    node: nodes.Compare


def all_of(tree: nodes.Expr) -> Iterator[nodes.Expr]:
    """The parts of an `and`, or the whole condition."""
    if isinstance(tree, nodes.And):
        yield from all_of(tree.left)
        yield from all_of(tree.right)
    else:
        yield tree


def comparisons(tree: nodes.Expr) -> Iterator[Comparison]:
    """Each comparison of a field with constants, whichever side the field is on."""
    for node in _compares(tree):
        left = node.expr
        for operand in node.ops:
            for field, other in ((left, operand.expr), (operand.expr, left)):
                path = path_of(field)
                if "." in path and isinstance(other, nodes.Const | nodes.List | nodes.Tuple):
                    yield Comparison(
                        path=path, operator=operand.op, constants=list(constants(other)), node=node
                    )
            left = operand.expr


def _compares(tree: nodes.Expr) -> Iterator[nodes.Compare]:
    if isinstance(tree, nodes.Compare):
        yield tree
    yield from parts_of(tree, nodes.Compare)
