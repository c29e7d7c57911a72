"""Makes a copy of a rule file for somebody: with names of its own for its rules, and the values of its inputs.

The text is kept with its comments. What is changed in it is read again, and must then say what was meant.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence

from dispatcher.rules.lines import line_of
from dispatcher.rules.sources import OF_RULES
from dispatcher.rules.variables import Scalar
from hookchain.settings.conversion import SettingsError

Tables = dict[str, object]

MOST_RULES = 100
"""In a file that is copied: nobody reads what more of them do."""


def tables_of(text: str, where: str, *, is_own: bool = False) -> Tables:
    """The tables of a file that has rules and nothing else; one of our own examples may have settings too. Raises `SettingsError`."""
    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{where} is not valid TOML: {error}") from error
    for key in tables:
        if key not in OF_RULES and not is_own:
            raise SettingsError(
                f"{where} has the key {key!r}; a rule file for others has only [[rules]], [vars], [macros] and [blueprint]"
            )
    rules = tables.get("rules")
    if not isinstance(rules, list) or not rules or not all(isinstance(rule, dict) for rule in rules):
        raise SettingsError(f"{where} has no [[rules]]")
    if len(rules) > MOST_RULES:
        raise SettingsError(f"{where} has more than {MOST_RULES} rules")
    return tables


def texts_in(value: object) -> list[str]:
    """Each text in a value of TOML, keys too."""
    if isinstance(value, dict):
        return [text for key, inner in value.items() for text in [str(key), *texts_in(inner)]]
    if isinstance(value, list):
        return [text for inner in value for text in texts_in(inner)]
    return [value] if isinstance(value, str) else []


def variables_in(tables: object) -> list[str]:
    """The environment variables that a file reads."""
    return sorted({name for text in texts_in(tables) for name in re.findall(r"\$\{(\w+)\}", text)})


def copied(text: str, name: str, where: str, values: Mapping[str, Scalar], *, is_own: bool = False) -> str:
    """The text of the copy. Raises `SettingsError` if the file is written in a way in which it cannot be changed."""
    tables = tables_of(text, where, is_own=is_own)
    new_names = _new_names(tables, name)
    made = _with_values(_renamed(text, tables, new_names), values)
    meant = _as_meant(tables, new_names, values)
    try:
        is_right = tomllib.loads(made) == meant
    except tomllib.TOMLDecodeError:
        is_right = False
    if not is_right:
        raise SettingsError(
            f'{where} cannot be copied: write each rule below [[rules]], with name = "…" on a line of its own, and no value of '
            "an input elsewhere than below [blueprint.values]"
        )
    head = "" if made.startswith("#:schema") else "#:schema ./hookchain.schema.json\n"
    first, _, rest = made.partition("\n") if not head else ("", "", made)
    return f"{head or first + chr(10)}# Made from {re.sub(r'[^ -~]', '?', where)}.\n{rest}"


def _new_names(tables: Tables, name: str) -> list[tuple[str, str]]:
    """The old and the new name of each rule: two copies, and copies of two files, have no name in common."""
    rules = tables["rules"]
    assert isinstance(rules, list)
    old = [str(rule.get("name", "")) for rule in rules]
    return [(one, name if len(old) == 1 else f"{name}-{one}") for one in old]


def _renamed(text: str, tables: Tables, names: Sequence[tuple[str, str]]) -> str:
    lines = text.split("\n")
    for index, (old, new) in enumerate(names):
        at = line_of(text, index, "name") - 1
        if old and at >= 0 and (written := _NAME.match(lines[at])):
            lines[at] = f"{written[1]}{_toml(new)}{lines[at][written.end() :]}"
    return _references(names)("\n".join(lines))


_NAME = re.compile(r"""(\s*name\s*=\s*)("[^"]*"|'[^']*')""")


def _references(names: Sequence[tuple[str, str]]) -> Callable[[str], str]:
    """Renames the receivers of rules, "rule:NAME", in a text."""
    new = {old: name for old, name in names if old}
    pattern = re.compile(
        rf"\brule:({'|'.join(map(re.escape, sorted(new, key=len, reverse=True)))})(?![\w.:+-])"
    )
    return (
        (lambda text: pattern.sub(lambda match: f"rule:{new[match[1]]}", text))
        if new
        else (lambda text: text)
    )


def _with_values(text: str, values: Mapping[str, Scalar]) -> str:
    """The text with a table of values at its end, in place of one that it has."""
    kept, is_in_values = [], False
    for line in text.split("\n"):
        if re.match(r"\s*\[", line):
            is_in_values = re.match(r"\s*\[\s*blueprint\s*\.\s*values\s*\]", line) is not None
        if not is_in_values:
            kept.append(line)
    body = "\n".join(kept).rstrip("\n") + "\n"
    if not values:
        return body
    return (
        body
        + "\n[blueprint.values]\n"
        + "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())
    )


def _as_meant(tables: Tables, names: Sequence[tuple[str, str]], values: Mapping[str, Scalar]) -> Tables:
    rename = _references(names)

    def renamed(value: object) -> object:
        if isinstance(value, dict):
            return {key: renamed(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [renamed(inner) for inner in value]
        return rename(value) if isinstance(value, str) else value

    meant = {key: renamed(value) for key, value in tables.items()}
    rules = meant["rules"]
    assert isinstance(rules, list)
    meant["rules"] = [
        rule | ({"name": new} if old else {}) for rule, (old, new) in zip(rules, names, strict=True)
    ]
    blueprint = meant.get("blueprint")
    if isinstance(blueprint, dict):
        others = {key: value for key, value in blueprint.items() if key != "values"}
        meant["blueprint"] = others | ({"values": dict(values)} if values else {})
    return meant


def _toml(value: Scalar) -> str:
    """The value as TOML writes it."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)
