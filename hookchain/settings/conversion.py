"""Convert the text of an environment variable to the value of its key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

import msgspec

from dispatcher.rules.spelling import nearest


class SettingsError(Exception):
    """The configuration is invalid. Each of the `messages` says what is wrong, where, and what to write instead."""

    def __init__(self, *messages: str) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages


class Found:
    """The mistakes that several checks have found. Checks that do not depend on each other run all, whatever one of them finds."""

    def __init__(self) -> None:
        self._messages: list[str] = []

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note what is raised inside."""
        try:
            yield
        except SettingsError as error:
            self._messages += error.messages

    def report(self) -> None:
        """Raise `SettingsError` with all that was found, if anything was."""
        if self._messages:
            raise SettingsError(*dict.fromkeys(self._messages))


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
_NUMBERS: Mapping[object, str] = {int: "a whole number", float: "a number"}


def converted(variable: str, text: str, kind: object) -> object:
    """`text` as a value of this type. Raises `SettingsError`.

    Lists are written "a, b", tables "key=value, key=value", and lists of tables "a=1, b=2; a=3". In a table whose values are lists,
    each is written "key=a b".
    """
    origin, arguments = get_origin(kind), get_args(kind)
    # Bounds are checked later, together with those of the file.
    if origin is Annotated:
        return converted(variable, text, arguments[0])
    if origin in (Union, UnionType):
        return _one_or_several(variable, text, arguments)
    if origin is Literal:
        return _choice(variable, text, arguments)
    if origin in (list, tuple, frozenset) and isinstance(arguments[0], type(msgspec.Struct)):
        return _structs(variable, text, arguments[0])
    if origin in (list, tuple, frozenset):
        return [converted(variable, part, arguments[0]) for part in _parts(text)]
    if origin in (dict, Mapping):
        return _table(variable, text, arguments[1])
    if kind is bool:
        return _switch(variable, text)
    if kind in _NUMBERS:
        return _number(variable, text, kind)
    return text


def _one_or_several(variable: str, text: str, kinds: tuple[object, ...]) -> object:
    """A value of the first type, unless the text can only be a list and a list is allowed: `str | list[str]`, `bool | list[str]`."""
    several = next((kind for kind in kinds if get_origin(kind) is list), None)
    is_list = "," in text or (kinds[0] is bool and text.lower() not in _SWITCH)
    return converted(variable, text, several if several is not None and is_list else kinds[0])


def _structs(variable: str, text: str, kind: type[msgspec.Struct]) -> list[dict[str, object]]:
    tables = [part for part in text.split(";") if part.strip()]
    if not tables:
        raise SettingsError(f"{variable} is {text!r}; write KEY=VALUE, separated by commas, or unset it")
    return [_struct(variable, table, kind) for table in tables]


def _struct(variable: str, text: str, kind: type[msgspec.Struct]) -> dict[str, object]:
    """One table of a list of tables: "key=value, key=value". Its keys are checked later, together with those of the file."""
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    return {
        key: converted(f"{variable}, {key},", str(value), types[key]) if key in types else value
        for key, value in _table(variable, text, str).items()
    }


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _choice(variable: str, text: str, choices: tuple[str, ...]) -> str:
    chosen = next((choice for choice in choices if choice.lower() == text.lower()), None)
    if chosen is None:
        raise SettingsError(f"{variable} is {text!r}.{nearest(text, choices)}")
    return chosen


def _table(variable: str, text: str, kind: object) -> dict[str, object]:
    table: dict[str, object] = {}
    for part in _parts(text):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value):
            raise SettingsError(f"{variable} has {part!r}; write KEY=VALUE, separated by commas")
        if key in table:
            raise SettingsError(f"{variable} sets {key!r} twice; write each key once")
        # The comma divides the table already.
        listed = ",".join(value.split()) if get_origin(kind) is list else value
        table[key] = converted(f"{variable}, {key},", listed, kind)
    return table


def _switch(variable: str, text: str) -> bool:
    if text.lower() not in _SWITCH:
        raise SettingsError(f"{variable} is {text!r}; it must be on or off")
    return _SWITCH[text.lower()]


def _number(variable: str, text: str, kind: object) -> object:
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{variable} is {text!r}; it must be {_NUMBERS[kind]}") from error
