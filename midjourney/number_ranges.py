"""Ranges of numbers. The bounds are defined with the fields, as `msgspec.Meta`; this module checks them for better messages.

msgspec checks the same bounds when it decodes, but reports only "Expected `int` >= 0 - at `$.budget.depth`": neither the value nor
the other bound, nor the name of an upstream. So code that reads a table from people checks it here first. Performs no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import msgspec
from msgspec import inspect


class Range(msgspec.Struct, frozen=True):
    """A range of numbers, bounds included."""

    least: float
    most: float
    is_whole: bool

    def has(self, value: object) -> bool:
        """True if the value is a number in the range; False for `nan`, `true` and `false`."""
        kinds = int if self.is_whole else int | float
        return isinstance(value, kinds) and not isinstance(value, bool) and self.least <= value <= self.most

    def __str__(self) -> str:
        """ "between 1 and 86400", for the end of a sentence."""
        return f"between {self.least:.15g} and {self.most:.15g}"


@cache
def ranges_of(kind: object) -> Mapping[str, Range]:
    """The range of each field with bounds of a struct or a TypedDict, by the name that people write."""
    described = inspect.type_info(kind)
    assert isinstance(described, inspect.StructType | inspect.TypedDictType)
    ranges = {field.encode_name: _range(field.type) for field in described.fields}
    return {name: field_range for name, field_range in ranges.items() if field_range is not None}


def wrong_number(table: Mapping[str, object], kind: object) -> tuple[str, Range] | None:
    """The name of the first number in the table that is out of range, and its range; other values are left to msgspec."""
    for name, field_range in ranges_of(kind).items():
        value = table.get(name)
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and not field_range.least <= value <= field_range.most
        ):
            return name, field_range
    return None


def range_of(kind: object) -> Range:
    """The range of a number type with bounds."""
    type_range = _range(inspect.type_info(kind))
    assert type_range is not None
    return type_range


def _range(described: inspect.Type) -> Range | None:
    if isinstance(described, inspect.UnionType):  # an optional number
        return next((part for part in map(_range, described.types) if part is not None), None)
    if not isinstance(described, inspect.IntType | inspect.FloatType):
        return None
    if described.ge is None or described.le is None:
        return None
    return Range(described.ge, described.le, is_whole=isinstance(described, inspect.IntType))
