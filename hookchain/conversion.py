"""The text of a variable → the value of the key that it sets."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from dispatcher.spelling import nearest


class SettingsError(Exception):
    """The configuration cannot be used; the message says what, where, and what to write instead."""


_SWITCH = {
    "on": True,
    "yes": True,
    "true": True,
    "1": True,
    "off": False,
    "no": False,
    "false": False,
    "0": False,
}
_NUMBERS: Mapping[Any, str] = {int: "a whole number", float: "a number"}


def converted(variable: str, text: str, kind: Any) -> Any:
    """`text` as a value of this type: lists as "a, b", tables as "key=value, key=value". Raises `SettingsError`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):  # a key that may be left out
        return converted(variable, text, arguments[0])
    if origin is Literal:
        return _choice(variable, text, arguments)
    if origin in (list, tuple, frozenset):
        return [converted(variable, part, arguments[0]) for part in _parts(text)]
    if origin in (dict, Mapping):
        return _table(variable, text, arguments[1])
    if kind is bool:
        return _switch(variable, text)
    if kind in _NUMBERS:
        return _number(variable, text, kind)
    return text


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _choice(variable: str, text: str, choices: tuple[str, ...]) -> str:
    found = next((choice for choice in choices if choice.lower() == text.lower()), None)
    if found is None:
        raise SettingsError(f"{variable} is {text!r}.{nearest(text, choices)}")
    return found


def _table(variable: str, text: str, kind: Any) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for part in _parts(text):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value):
            raise SettingsError(f"{variable} has {part!r}; write KEY=VALUE, separated by commas")
        if key in table:
            raise SettingsError(f"{variable} sets {key!r} twice; write each key once")
        table[key] = converted(f"{variable}, {key},", value, kind)
    return table


def _switch(variable: str, text: str) -> bool:
    if text.lower() not in _SWITCH:
        raise SettingsError(f"{variable} is {text!r}; it must be on or off")
    return _SWITCH[text.lower()]


def _number(variable: str, text: str, kind: Any) -> Any:
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{variable} is {text!r}; it must be {_NUMBERS[kind]}") from error
