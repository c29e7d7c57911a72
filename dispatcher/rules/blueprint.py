"""Blueprints: rule files with inputs that others fill.

    [blueprint.inputs.chat]
    description = "where to tell it"
    type = "url"

    [blueprint.values]
    chat = "discord://…"

`<<chat>>` in a text of a rule is replaced by the value after the file is parsed, so that a value is never read as TOML; and a value cannot
add an expression, which Jinja would evaluate. In expressions an input is a variable: `vars.chat`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal, get_args

import msgspec

from dispatcher.plugins.submit_options import InvalidDelay, delay_s
from dispatcher.rules.checks import InvalidRule
from dispatcher.rules.mistyped import mistyped
from dispatcher.rules.spelling import nearest
from dispatcher.rules.variables import NAME, Scalar, wrong_variable

Type = Literal["text", "number", "url", "upstream", "duration", "bool"]

_PLACE = re.compile(r"<<\s*(\w+)\s*>>")
_ENDS = {"{{": "}}", "{%": "%}", "{#": "#}"}
_BEGIN = re.compile("|".join(map(re.escape, _ENDS)))
_MARKS = re.compile(r"\{\{|\}\}|\{%|%\}|\{#|#\}")
_EXPRESSIONS = ("if", "unless")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input: what it is for, its type, and its value if nobody gives one."""

    description: str = ""
    type: Type = "text"
    default: Scalar | None = None


class Blueprint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table `[blueprint]`: what the file is for, its inputs, and the values that they have in this copy."""

    description: str = ""
    inputs: dict[str, Input] = {}
    values: dict[str, Scalar] = {}

    @property
    def missing(self) -> list[str]:
        """The inputs that have no value."""
        return [name for name, one in self.inputs.items() if name not in self.values and one.default is None]

    @property
    def filled(self) -> dict[str, Scalar]:
        """The value of each input that has one."""
        defaults = {name: one.default for name, one in self.inputs.items() if one.default is not None}
        return {**defaults, **self.values}


def blueprint_of(table: object) -> Blueprint:
    """Read a `[blueprint]` table. Raises `InvalidRule`, whose key is a path in it."""
    if not isinstance(table, dict):
        raise InvalidRule("blueprint", "it must be a table", " Write [blueprint] above its keys.")
    _check_keys("blueprint", table, Blueprint)
    inputs = table.get("inputs", {})
    for name, one in inputs.items() if isinstance(inputs, dict) else ():
        _check_keys(f"blueprint.inputs.{name}", one, Input)
        if not NAME.fullmatch(name):
            raise InvalidRule(
                f"blueprint.inputs.{name}",
                f"{name!r} is not a valid name of an input",
                " Use letters, digits and _, and begin with a letter.",
            )
    try:
        blueprint = msgspec.convert(table, Blueprint)
    except msgspec.ValidationError as error:
        wrong = mistyped(error)
        remedy = f" Allowed: {', '.join(get_args(Type))}." if wrong.is_choice else ""
        raise InvalidRule("blueprint", f"in {wrong.path}, {wrong.problem}", remedy) from error
    for name in blueprint.values:
        if name not in blueprint.inputs:
            raise InvalidRule(
                "blueprint.values", f"no input is named {name!r}", nearest(name, blueprint.inputs)
            )
    for name, value in blueprint.filled.items():
        try:
            check_value(name, blueprint.inputs[name], value)
        except InvalidRule as error:
            key = "blueprint.values" if name in blueprint.values else f"blueprint.inputs.{name}"
            raise InvalidRule(key, error.problem, error.remedy) from error
    return blueprint


def _check_keys(where: str, table: object, kind: type[msgspec.Struct]) -> None:
    known = kind.__struct_fields__
    if not isinstance(table, dict):
        raise InvalidRule(where, "it must be a table", f" Write [{where}] above its keys.")
    for key in table:
        if key not in known:
            raise InvalidRule(where, f"unknown key {key!r}", nearest(key, known))


def check_value(name: str, one: Input, value: Scalar) -> None:
    """Check the value of an input. Raises `InvalidRule`."""
    is_text, is_bool = isinstance(value, str), isinstance(value, bool)
    is_number = isinstance(value, int | float) and not is_bool
    fits = {"bool": is_bool, "number": is_number, "duration": is_text or is_number}.get(one.type, is_text)
    if not fits:
        raise InvalidRule(
            name, f"{name!r} is {value!r}, which is not {_WORDS[one.type]}", _EXAMPLES[one.type]
        )
    if one.type == "url" and not _URL.fullmatch(str(value)):
        raise InvalidRule(name, f"{name!r} is {value!r}, which is not an address", _EXAMPLES["url"])
    if one.type == "upstream" and not str(value).strip():
        raise InvalidRule(name, f"{name!r} is empty", _EXAMPLES["upstream"])
    if one.type == "duration":
        try:
            delay_s(value)
        except InvalidDelay as error:
            raise InvalidRule(name, f"{name!r}: {error.problem}", error.remedy) from error
    if wrong := wrong_variable({name: value}):
        problem, _, remedy = wrong.partition(". ")
        raise InvalidRule(name, problem, f" {remedy}")


_WORDS: Mapping[str, str] = {
    "text": "a text",
    "url": "an address",
    "upstream": "a name of an upstream",
    "number": "a number",
    "bool": "true or false",
    "duration": "a time",
}
_EXAMPLES: Mapping[str, str] = {
    "text": ' Write it in quotes: "…".',
    "url": ' Write something like "https://…" or "discord://…".',
    "upstream": ' Write the NAME of an [upstreams.NAME], such as "main".',
    "number": " Write it without quotes: 3.",
    "bool": " Write true or false, without quotes.",
    "duration": ' Write seconds, or "10 min", "2 h", "3 days".',
}


def value_of(name: str, one: Input, text: str) -> Scalar:
    """The value that a text on the command line means. Raises `InvalidRule`."""
    value: Scalar = text
    if one.type == "bool" and text.lower() in ("true", "false", "yes", "no"):
        value = text.lower() in ("true", "yes")
    if one.type in ("number", "duration"):
        value = _number(text)
    check_value(name, one, value)
    return value


def _number(text: str) -> Scalar:
    """The number, or the text if it is none."""
    if re.fullmatch(r"[+-]?\d+", text.strip()):
        return int(text)
    return float(text) if re.fullmatch(r"[+-]?\d+\.\d+", text.strip()) else text


def filled_rule(rule: Mapping[str, object], values: Mapping[str, Scalar]) -> dict[str, object]:
    """The table of a rule with the values in place of `<<NAME>>`. Raises `InvalidRule`."""
    return {key: _filled(key, key in _EXPRESSIONS, value, values) for key, value in rule.items()}


def _filled(key: str, is_expression: bool, value: object, values: Mapping[str, Scalar]) -> object:
    if isinstance(value, dict):
        return {name: _filled(key, is_expression, inner, values) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(key, is_expression, inner, values) for inner in value]
    if not isinstance(value, str):
        return value
    for name in _PLACE.findall(value):
        if name not in values:
            raise InvalidRule(key, f"no input is named {name!r}", nearest(name, values))
    inside = [value] if is_expression else list(_expressions_in(value))
    if place := next((match for part in inside for match in [_PLACE.search(part)] if match), None):
        raise InvalidRule(key, f"{place[0]} cannot be used inside an expression", f" Write vars.{place[1]}.")
    if whole := _PLACE.fullmatch(value.strip()):
        found = values[whole[1]]
        text = found if isinstance(found, str) else ""
    else:
        found = text = _PLACE.sub(lambda match: _text(values[match[1]]), value)
    if _MARKS.findall(text) != _MARKS.findall(_PLACE.sub("", value)):
        raise InvalidRule(
            key,
            "the value of an input has {{ or }} in it, and must not become an expression",
            " Leave them out.",
        )
    return found


def _expressions_in(text: str) -> Iterator[str]:
    """Each expression of a template; the last one may lack its end. Takes time in proportion to the text."""
    at = 0
    while begin := _BEGIN.search(text, at):
        end = text.find(_ENDS[begin[0]], begin.end())
        at = end if end >= 0 else len(text)
        yield text[begin.end() : at]


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
