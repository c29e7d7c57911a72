"""Comparisons of values of different types, such as a number with a text in quotes."""

from __future__ import annotations

from collections.abc import Iterator

from dispatcher.rules.lint.caution import Caution, Subject
from dispatcher.rules.lint.fields import Field, field_of
from dispatcher.rules.lint.logic import ORDERS
from dispatcher.rules.lint.parts import Comparison, comparisons
from dispatcher.rules.why import words

_NAMES = {bool: "true or false", int: "a number", float: "a number", str: "a text"}


def different_types(subject: Subject) -> Iterator[Caution]:
    """A field that is compared with a constant of a type that it never has."""
    if subject.condition is None:
        return
    for comparison in comparisons(subject.condition):
        field = field_of(comparison.path)
        wrong = [
            constant for constant in comparison.constants if field and _differs(comparison, field, constant)
        ]
        if field is not None and wrong:
            yield Caution(
                kind="type",
                key="if",
                problem=(
                    f"{words(comparison.node)}: {comparison.path} is {_NAMES[field.type]}, and {wrong[0]!r} is "
                    f"{_NAMES[type(wrong[0])]}, so {_effect(comparison)}"
                ),
                remedy=_remedy(comparison, field, wrong[0]),
            )


_LISTS = frozenset({"chain.pressed"})
"""Fields that are lists of texts."""


def lists_and_texts(subject: Subject) -> Iterator[Caution]:
    """A list that is compared with a text, which it never equals."""
    if subject.condition is None:
        return
    for comparison in comparisons(subject.condition):
        texts = [constant for constant in comparison.constants if isinstance(constant, str)]
        if comparison.path in _LISTS and comparison.operator in ("eq", "ne") and texts:
            yield Caution(
                kind="type",
                key="if",
                problem=f"{words(comparison.node)}: {comparison.path} is a list, and {texts[0]!r} is a text, so {_effect(comparison)}",
                remedy=f"Write {texts[0]!r} in {comparison.path}.",
            )


def _differs(comparison: Comparison, field: Field, constant: object) -> bool:
    if comparison.operator in ("in", "notin") and comparison.node.expr.__class__.__name__ == "Const":
        return False  # `'cat' in task.prompt` searches; the field is no item
    kind = type(constant)
    if kind not in _NAMES:
        return False
    if field.type is str or kind is str:
        return field.type is not kind
    return (field.type is bool) != (kind is bool) and constant not in (0, 1)


def _effect(comparison: Comparison) -> str:
    if comparison.operator in ORDERS:
        return "each event becomes a dead letter"
    return f"the comparison is always {'true' if comparison.operator in ('ne', 'notin') else 'false'}"


def _remedy(comparison: Comparison, field: Field, constant: object) -> str:
    if field.type is bool:
        return f"Write {comparison.path}, or not {comparison.path}."
    if field.type is str:
        return f"Write {str(constant)!r}, in quotes."
    number = str(constant).strip().rstrip("%")
    return f"Write {number}, without quotes." if number.isdigit() else "Write a number, without quotes."
