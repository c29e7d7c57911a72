"""What is wrong with a table for a struct: unknown, missing and mistyped keys, all of them, without their values. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin

import msgspec

from midjourney.nearest import nearest

_TYPES = {
    "str": "a text in quotes",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list [ … ]",
    "object": "a table { … }",
    "null": "nothing",
}


def struct_problems(table: Mapping[str, object], kind: type[msgspec.Struct], inside: str = "") -> list[str]:
    """One sentence for each mistake; [] if the table fits. `inside` is the key of the table in which this table is."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    problems = [
        f"unknown key {inside + key!r}.{nearest(key, fields) if fields else ' There are no keys.'}"
        for key in table
        if key not in fields
    ]
    for key, field in fields.items():
        if key not in table:
            if field.required:
                problems.append(f"the key {inside + key!r} is missing; it takes {_expected(field.type)}.")
            continue
        problems += _value_problems(table[key], field.type, inside + key)
    return problems


def _value_problems(value: object, kind: Any, key: str) -> list[str]:
    if isinstance(value, Mapping) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return struct_problems(value, kind, f"{key}.")
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return [f"{key!r} {_reworded(str(error), kind)}"]
    return []


def _reworded(message: str, kind: Any) -> str:
    """msgspec's message ("Expected `int`, got `str`", "Invalid enum value 'x'") in plain English, without the value."""
    if types := re.match(r"Expected `([^`]*)`, got `([^`]*)`", message):
        wanted = " or ".join(
            dict.fromkeys(_TYPES.get(one.strip(), one.strip()) for one in types[1].split("|"))
        )
        inner = re.search(r" - at `\$([^`]+)`", message)
        where = f" (at {inner[1].lstrip('.')})" if inner else ""
        return f"must be {wanted}, not {_TYPES.get(types[2], types[2])}{where}."
    if message.startswith("Invalid enum value"):
        return f"must be {_expected(kind)}."
    if bound := re.match(r"Expected `[^`]*` (.*?)( - at .*)?$", message):
        return f"must be {bound[1]}."
    return "has a wrong value."


def _expected(kind: Any) -> str:
    """What to write for a value of this type."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    choices = [repr(choice) for choice in get_args(kind) if isinstance(choice, str)]
    if choices:
        return " or ".join(choices)
    origin = get_origin(kind) or kind
    names = {
        str: "str",
        int: "int",
        float: "float",
        bool: "bool",
        list: "array",
        tuple: "array",
        dict: "object",
    }
    return _TYPES[names.get(origin, "object")]
