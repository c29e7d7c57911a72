"""Turns the result of an expression into a value that JSON has. For the confined process too."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import jinja2

from dispatcher.plugins.errors import RuleError

MOST_CHARACTERS = 1_000_000
"""The most characters of a value, counting its items: as many as the lists of joins may have."""

_WHOLE = range(-(2**63), 2**64)


def json_value(value: Any) -> Any:
    """The value as texts, numbers, true, false, null, lists and tables. Raises `RuleError` for one that is missing, too long, or none of
    these."""
    return _Counted().taken(value)


class _Counted:
    def __init__(self) -> None:
        self._left = MOST_CHARACTERS

    def taken(self, value: Any) -> Any:
        """Copy a value, and count it."""
        self._count(len(value) if isinstance(value, str) else 1)
        if isinstance(value, jinja2.Undefined):
            value._fail_with_undefined_error()
        if value is None or isinstance(value, bool | str):
            return str(value) if isinstance(value, str) else value
        if isinstance(value, int | float):
            return self._number(value)
        if isinstance(value, SimpleNamespace):
            return {name: self.taken(one) for name, one in vars(value).items()}
        if isinstance(value, Mapping):
            return {self.taken(str(name)): self.taken(one) for name, one in value.items()}
        if isinstance(value, Iterable):
            return [self.taken(one) for one in value]
        raise RuleError(f"JSON has no {type(value).__name__}")

    def _count(self, characters: int) -> None:
        self._left -= characters
        if self._left < 0:
            raise RuleError(f"it has more than {MOST_CHARACTERS} characters")

    @staticmethod
    def _number(value: float) -> float:
        if isinstance(value, int) and value not in _WHOLE:
            raise RuleError("it is a number with more than 19 digits; write it as a text: {{ … ~ '' }}")
        if not math.isfinite(value):
            raise RuleError(f"it is {value}, which JSON does not have")
        return value
