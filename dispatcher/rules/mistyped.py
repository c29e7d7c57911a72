"""Words msgspec's messages about a value of the wrong type for people who write TOML."""

from __future__ import annotations

import re

import msgspec

_TYPES = {
    "str": "a text in quotes",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list [ … ]",
    "object": "a table { … }",
    "null": "nothing",
}


class Mistyped(msgspec.Struct, frozen=True, kw_only=True):
    """Where a value is ("press[1]", "budget.depth"), what is wrong, and whether it is a choice that is not allowed."""

    path: str
    problem: str
    is_choice: bool = False


def mistyped(error: msgspec.ValidationError) -> Mistyped:
    """Reword a message such as "Expected `str | array`, got `int` - at `$.press`"."""
    message = str(error)
    location = re.search(r" - at `\$\.?([^`]*)`", message)
    path = location[1] if location else ""
    if types := re.match(r"Expected `([^`]*)`, got `([^`]*)`", message):
        kinds = [_TYPES.get(kind.strip(), kind.strip()) for kind in types[1].split("|")]
        expected = " or ".join(dict.fromkeys(kinds))
        return Mistyped(path=path, problem=f"expected {expected}, not {_TYPES.get(types[2], types[2])}")
    if chosen := re.match(r"Invalid enum value '?([^']*)'?", message):
        return Mistyped(path=path, problem=f"{chosen[1]!r} is not an allowed value", is_choice=True)
    return Mistyped(path=path, problem=message.split(" - at ")[0])
