"""TOML tables → rules, and errors that say where a mistake is and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, get_args

import msgspec

from dispatcher.errors import RuleError
from dispatcher.rules.compile import CompiledRule, Mistake, Surroundings, compile_rule
from dispatcher.rules.model import KEYS, TABLES, Rule
from dispatcher.spelling import nearest


def load_rules(
    tables: Any,
    *,
    file: str,
    text: str,
    directory: Path | None = None,
    upstreams: Collection[str] | None = None,
) -> list[CompiledRule]:
    """The rules of a file. `text` is its source, for line numbers; `directory` is where its masks are; without one
    a mask is a region or a data URL, whom `notify` tells is not looked at, and no file is read.

    Raises `RuleError` at the first mistake.
    """
    if not isinstance(tables, list):
        raise RuleError(f"{file}: `rules` must be an array of tables. Write [[rules]] above each rule.")
    around = Surroundings(directory=directory, upstreams=upstreams)
    rules: dict[str, CompiledRule] = {}
    for index, table in enumerate(tables):
        place = _Place(file, text, index, table)
        compiled = place.load(around)
        if (other := rules.get(compiled.rule.name)) is not None:
            raise place.error("name", f"another rule has this name, at {other.where}", " Rename one of them.")
        rules[compiled.rule.name] = compiled
    return list(rules.values())


class _Place:
    """One table of a file: loads it, and knows where its mistakes are."""

    def __init__(self, file: str, text: str, index: int, table: Any) -> None:
        self._file, self._text, self._index, self._table = file, text, index, table

    def load(self, around: Surroundings) -> CompiledRule:
        """The rule, or `RuleError`."""
        try:
            compiled = compile_rule(self._convert(), around)
        except Mistake as mistake:
            raise self.error(mistake.key, mistake.problem, mistake.remedy) from mistake
        line = line_of(self._text, self._index, "")
        return msgspec.structs.replace(compiled, where=f"{self._file}:{line}" if line else self._file)

    def _convert(self) -> Rule:
        if not isinstance(self._table, dict):
            raise Mistake("", "a rule is a table", " Write [[rules]] above it.")
        for key in self._table:
            if key not in KEYS:
                raise Mistake(key, "unknown key", nearest(key, KEYS))
        for key in ("name", "on"):
            if key not in self._table:
                raise Mistake("", f"the key {key!r} is missing", _EXAMPLE[key])
        for key, kind in TABLES.items():
            self._check_table(key, kind)
        try:
            return msgspec.convert(self._table, Rule)
        except msgspec.ValidationError as error:
            raise _mistyped(error) from error

    def _check_table(self, key: str, kind: type[msgspec.Struct]) -> None:
        table = self._table.get(key)
        if not isinstance(table, dict):
            return
        fields = msgspec.structs.fields(kind)
        known = [field.encode_name for field in fields]
        for inner in table:
            if inner not in known:
                raise Mistake(key, f"unknown key {inner!r} in {key}", nearest(inner, known))
        for field in fields:
            if field.required and field.encode_name not in table:
                raise Mistake(
                    key,
                    f"the key {field.encode_name!r} is missing in {key}",
                    f" {key} takes {', '.join(known)}.",
                )

    def error(self, key: str, problem: str, remedy: str = "") -> RuleError:
        """The mistake as file, line, rule, key, problem and what to write instead."""
        number = f"no. {self._index + 1}"
        name = self._table.get("name", number) if isinstance(self._table, dict) else number
        line = line_of(self._text, self._index, key)
        where = f"{self._file}:{line}" if line else self._file
        in_key = f", key {key!r}" if key else ""
        end = "" if problem.endswith((".", "?")) else "."
        return RuleError(f'{where}, rule "{name}"{in_key}: {problem}{end}{remedy}')


_EXAMPLE = {"name": ' Write name = "upscale-all".', "on": ' Write on = "task.succeeded".'}

_TYPES = {
    "str": "a text in quotes",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list [ … ]",
    "object": "a table { … }",
    "null": "nothing",
}


def _mistyped(error: msgspec.ValidationError) -> Mistake:
    """msgspec's words ("Expected `str | array`, got `int` - at `$.press`") in ours."""
    said = str(error)
    place = re.search(r" - at `\$\.?([^`]*)`", said)
    path = place[1] if place else ""
    key, _, inside = path.partition(".")
    key, bracket, _ = key.partition("[")
    within = f"in {path}, " if inside or bracket else ""
    types = re.match(r"Expected `([^`]*)`, got `([^`]*)`", said)
    if types:
        expected = " or ".join(
            dict.fromkeys(_TYPES.get(one.strip(), one.strip()) for one in types[1].split("|"))
        )
        return Mistake(key, f"{within}{expected} is expected, not {_TYPES.get(types[2], types[2])}")
    if chosen := re.match(r"Invalid enum value '?([^']*)'?", said):
        return Mistake(key, f"{within}{chosen[1]!r} is not possible here", _choices(path))
    return Mistake(key, f"{within}{said.split(' - at ')[0]}")


def _choices(path: str) -> str:
    key, _, inside = path.partition(".")
    kind, name = (TABLES[key], inside) if inside else (Rule, key)
    field = next(field for field in msgspec.structs.fields(kind) if field.encode_name == name)
    return f" There are: {', '.join(str(one) for one in get_args(field.type) if one)}."


def line_of(text: str, index: int, key: str) -> int:
    """The line, from 1, of a key in the index-th [[rules]] table, or of the table's head; 0 when it is not found.

    The TOML parser gives no positions, so the source is searched.
    """
    lines = text.splitlines()
    heads = [number for number, line in enumerate(lines, 1) if re.match(r"\s*\[\[\s*rules\s*\]\]", line)]
    if index >= len(heads):
        return 0
    pattern = re.compile(rf"""\s*(\[\s*rules\s*\.\s*)?["']?{re.escape(key)}["']?\s*[=.\]]""")
    for number in range(heads[index] + 1, len(lines) + 1):
        if number in heads:
            break
        if key and pattern.match(lines[number - 1]):
            return number
    return heads[index]
