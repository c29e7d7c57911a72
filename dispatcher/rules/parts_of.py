"""Finds the parts of a parsed text. Jinja's own search takes the number of parts times their depth, and an `or` of a hundred is that deep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from jinja2 import nodes

AnyNode = TypeVar("AnyNode", bound=nodes.Node)


def parts_of(tree: nodes.Node, *kinds: type[AnyNode]) -> Iterator[AnyNode]:
    """Each part of these kinds inside of a tree, without the tree itself, as it is written from left to right. Every part is looked at once."""
    left = children(tree)[::-1]
    while left:
        node = left.pop()
        if isinstance(node, kinds):
            yield node
        left += children(node)[::-1]


def children(node: nodes.Node) -> list[nodes.Node]:
    """The parts of which a part consists, as it is written."""
    found: list[nodes.Node] = []
    for name in node.fields:
        value = getattr(node, name, None)
        if isinstance(value, nodes.Node):
            found.append(value)
        elif isinstance(value, list):
            found += [one for one in value if isinstance(one, nodes.Node)]
    return found
