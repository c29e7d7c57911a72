"""Copies values that can be stored as JSON and come back as they were, and says of any other where it is and what to write. Pure."""

from __future__ import annotations

import math
from typing import Any

DEEPEST = 20
"""How deep lists and dicts may be nested."""

_LEAST, _LARGEST = -(2**63), 2**63 - 1


class NotJson(Exception):
    """A value cannot be stored as JSON. `where` leads to it from the value that was to be copied, such as `[2]['name']`."""

    where = ""

    def inside(self, key: str | int) -> NotJson:
        """The same, from the list or dict in which the value is."""
        self.where = f"[{key if isinstance(key, int) else repr(str.__str__(key)[:40])}]{self.where}"
        return self


def copied(value: object, most_bytes: int) -> Any:
    """A copy of a value that consists of None, True, numbers, texts, lists and dicts only, and takes at most about `most_bytes` of JSON.

    Raises `NotJson`. It looks at no more than fits, whatever the value refers to.
    """
    return _Copier(most_bytes).copied(value, ())


class _Copier:
    """Counts what it has copied: at least one byte for each value, so that it ends early with what is too large."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._left = most_bytes

    def copied(self, value: object, around: tuple[int, ...]) -> Any:
        """A copy of a value that is inside of these lists and dicts."""
        self._count(1)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int | float):
            return _number(value)
        if not isinstance(value, list | dict):
            raise NotJson(f"{_kind(value)} is not JSON{_cure(value)}")
        if id(value) in around:
            raise NotJson("it contains itself, which JSON cannot express")
        if len(around) >= DEEPEST:
            raise NotJson(f"lists and dicts are nested more than {DEEPEST} deep; store flatter values")
        within = (*around, id(value))
        if isinstance(value, list):
            return [self._item(number, item, within) for number, item in enumerate(list.__iter__(value))]
        return {self._key(key): self._item(key, item, within) for key, item in list(dict.items(value))}

    def _item(self, key: str | int, item: object, within: tuple[int, ...]) -> Any:
        try:
            return self.copied(item, within)
        except NotJson as error:
            raise error.inside(key) from error.__cause__

    def _text(self, text: str) -> str:
        self._count(len(text))
        plain = str.__str__(text)
        try:
            plain.encode()
        except UnicodeEncodeError as error:
            raise NotJson(
                "the text contains half a character (a lone surrogate); remove it, for example with text.encode(errors='ignore').decode()"
            ) from error
        return plain

    def _key(self, key: object) -> str:
        if not isinstance(key, str):
            raise NotJson(f"{_kind(key)} as a key of a dict is not JSON; write str(key)")
        return self._text(key)

    def _count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            why = f"it takes more than the {self._most_bytes} bytes of JSON that a chain may store"
            raise NotJson(f"{why}; store addresses instead of pictures")


def _number(value: float) -> float:
    if isinstance(value, int):
        if not _LEAST <= value <= _LARGEST:
            raise NotJson("the number needs more than 64 bits; store it as a text: str(number)")
        return int.__int__(value)
    if not math.isfinite(value):
        raise NotJson(f"{value} is not a number in JSON; store None instead")
    return float.__float__(value)


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _cure(value: object) -> str:
    if isinstance(value, tuple):
        return "; write list(…)"
    if isinstance(value, set | frozenset):
        return "; write sorted(…)"
    if isinstance(value, bytes | bytearray):
        return "; store a text, or the address of a file"
    return "; store what you need of it as texts and numbers, such as task.id"
