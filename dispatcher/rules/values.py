"""What expressions see of a task, an event, a chain …: plain values, cut to a length that any expression can handle.

Expressions get the fields of a chain, never its methods. Values come from strangers, and a prompt may be as long as a callback.
A condition may use a value that was cut; a cut value is never sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

LONGEST_VALUE = 16_000
"""The most characters of a value, counting its items if it is a list or a table. Midjourney accepts prompts of some 6,000."""

MOST_KEYS = 1_000
"""The most fields of `task.extra`. The largest payload seen so far has 40."""

OF_JOINS = frozenset({"tasks", "children"})
"""Fields of `chain` that only the signals chain.rested and children.done have: lists of tasks."""

OF_ROOT = frozenset({"prompt", "state"})
"""Fields of `chain` that are those of its first task. They are missing if that is unknown, so that nothing compares with them."""

LONGEST_LIST = 1_000_000
"""The most characters of a list of tasks: a thousand with prompts and addresses of usual length, or 150 with the longest ones."""

_WHOLE = range(-(2**63), 2**64)
"""Whole numbers that MessagePack can hold: all vendors' ids, and numbers that a float would round."""

Names = Mapping[str, Any]
"""Values by the names that expressions use: "task", "event", "chain", "submission", "modal", "root"."""


def fields(kind: type) -> frozenset[str]:
    """The names of a type's public fields and properties."""
    named = {
        name for name in dir(kind) if not name.startswith("_") and isinstance(getattr(kind, name), property)
    }
    return frozenset(named | set(getattr(kind, "__struct_fields__", ())))


class Plain(msgspec.Struct, kw_only=True):
    """Plain values by name and field. `too_long` lists paths to the values that were cut, each with the reason not to send it."""

    values: dict[str, object] = {}
    too_long: list[tuple[list[str], str]] = []


def plain(names: Names, needed: Mapping[str, Iterable[str]]) -> Plain:
    """Copy the `needed` fields of each name. A missing name is left out; None stays None."""
    result = Plain()
    for name, wanted in needed.items():
        if name in names:
            owner = names[name]
            result.values[name] = None if owner is None else _copied(result, [name], owner, wanted)
    return result


def _copied(result: Plain, path: list[str], owner: Any, wanted: Iterable[str]) -> dict[str, object]:
    known = {name: getattr(owner, name) for name in wanted}
    return {
        name: _field(result, [*path, name], value)
        for name, value in known.items()
        if not (value is None and name in OF_ROOT and path == ["chain"])
    }


def _field(result: Plain, path: list[str], value: Any) -> Any:
    if path in (["task", "properties"], ["root", "properties"]):
        return _copied(result, path, value, sorted(fields(type(value))))
    if path in (["task", "params"], ["root", "params"]):
        return _cut(result, path, dict(value))
    if path in (["task", "extra"], ["root", "extra"]) and len(value) <= MOST_KEYS:
        return {
            str(key)[:LONGEST_VALUE]: _cut(result, [*path, str(key)], item) for key, item in value.items()
        }
    if path[0] == "chain" and path[1:] and path[1] in OF_JOINS:
        return _cut(result, path, value, LONGEST_LIST)
    return _cut(result, path, value)


def _cut(result: Plain, path: list[str], value: Any, longest: int = LONGEST_VALUE) -> Any:
    room = _Room(longest)
    kept = room.take(value)
    if room.is_short:
        name = ".".join(path)[:100]
        why = f"{name} has more than {longest} characters, which is more than rules send; leave it out of the text"
        if longest == LONGEST_VALUE:
            why += f', or skip such tasks with if = "{name} | length < {LONGEST_VALUE}"'
        result.too_long.append((path, why))
    return kept


class _Room:
    """Copies as much of a value as fits into so many characters."""

    def __init__(self, longest: int) -> None:
        self._left = longest
        self.is_short = False

    def take(self, value: Any) -> Any:
        """Copy the value, or its beginning, as types that MessagePack has."""
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, int):
            return value if value in _WHOLE else self._large(value)
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bytes):
            return self._text(self._beginning(value).decode("utf-8", "replace"))
        if isinstance(value, msgspec.Struct):
            return {name: self.take(getattr(value, name)) for name in sorted(fields(type(value)))}
        if isinstance(value, dict):
            return dict(self._pairs(value))
        return list(self._items(value))

    def _text(self, value: str) -> str:
        text = str(self._beginning(value))
        self._left -= len(text)
        return text if text.isascii() else text.encode("utf-8", "replace").decode()

    def _beginning(self, value: Any) -> Any:
        if len(value) <= self._left:
            return value
        self.is_short = True
        return value[: self._left]

    def _items(self, values: Iterable[Any]) -> Iterable[Any]:
        for value in values:
            if self._left <= 0:
                self.is_short = True
                return
            self._left -= 1
            yield self.take(value)

    def _pairs(self, values: dict[Any, Any]) -> Iterable[tuple[str, Any]]:
        for key in self._items(values):
            yield key, self.take(values.get(key))

    @staticmethod
    def _large(value: int) -> float:
        try:
            return float(value)
        except OverflowError:
            return float("inf") if value > 0 else float("-inf")
