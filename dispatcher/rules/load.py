"""Loads rules from TOML tables. Errors say where a mistake is and what was probably meant."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from dispatcher.policy.cron_times import EXAMPLE
from dispatcher.rules.checks import InvalidRule
from dispatcher.rules.compile import CompiledRule, RuleContext, compile_rule
from dispatcher.rules.expressions import Evaluator, evaluate_here
from dispatcher.rules.key_names import nearest_key
from dispatcher.rules.lines import line_of, line_of_table
from dispatcher.rules.lint.unused import empty_keys
from dispatcher.rules.lint.warnings import warnings_of
from dispatcher.rules.mistakes import Mistake, Table, WrongRules, all_mistakes
from dispatcher.rules.mistyped import mistyped
from dispatcher.rules.model import KEYS, TABLES, Rule
from dispatcher.rules.offered import lacking
from dispatcher.rules.spelling import nearest
from dispatcher.rules.variables import wrong_variable
from midjourney.number_ranges import wrong_number


def load_rules(
    tables: Any,
    *,
    file: str,
    text: str,
    directory: Path | None = None,
    upstreams: Collection[str] | None = None,
    image_folders: Sequence[Path] = (),
    evaluator: Evaluator = evaluate_here,
) -> list[CompiledRule]:
    """Compile the rules of a file.

    `text` is its source, for line numbers. Masks and images are files in `directory` or `image_folders`; without a directory no
    file is read: a mask is a region or a data URL, and the addresses of `notify` are not checked. `evaluator` evaluates
    expressions that are not simple.

    Raises `RuleError` with all mistakes.
    """
    rules, mistakes = find_rules(
        tables,
        file=file,
        text=text,
        context=RuleContext(
            directory=directory, upstreams=upstreams, image_folders=tuple(image_folders), evaluator=evaluator
        ),
    )
    if mistakes:
        raise WrongRules(mistakes)
    return rules


def find_rules(
    tables: Any, *, file: str, text: str, context: RuleContext, others: Mapping[str, str] | None = None
) -> tuple[list[CompiledRule], list[Mistake]]:
    """The rules of a file that are right, and the mistakes of the others. `others`: the places of rules in other files, by name."""
    if not isinstance(tables, list):
        mistake = Mistake(
            file=file,
            line=line_of_table(text),
            rule=None,
            key="",
            problem="`rules` must be an array of tables",
            remedy="Write [[rules]] above each rule.",
        )
        return [], [mistake]
    rules: dict[str, CompiledRule] = {}
    places = dict(others or {})
    mistakes: list[Mistake] = []
    for index, table in enumerate(tables):
        rule_table = _RuleTable(file, text, index, table)
        try:
            compiled = rule_table.load(context)
        except WrongRules as wrong:
            mistakes += wrong.mistakes
            continue
        if (other := places.get(compiled.rule.name)) is not None:
            problem = f"another rule has this name, at {other}"
            mistakes.append(rule_table.mistake("name", problem, " Rename one of them."))
        rules[compiled.rule.name] = compiled
        places[compiled.rule.name] = compiled.where
    return list(rules.values()), mistakes


class _RuleTable:
    """Loads one table of a file, and locates its mistakes."""

    def __init__(self, file: str, text: str, index: int, table: Any) -> None:
        self._file, self._text, self._index, self._table = file, text, index, table

    def load(self, context: RuleContext) -> CompiledRule:
        """Compile the rule. Raises `WrongRules` with all of its mistakes."""
        try:
            compiled = compile_rule(self._convert(self._table), context)
        except InvalidRule as first:
            found = [first]
            if isinstance(self._table, dict):
                found = all_mistakes(self._table, lambda table: compile_rule(self._convert(table), context))
            mistakes = [self.mistake(one.key, one.problem, one.remedy) for one in found]
            raise WrongRules(sorted(mistakes, key=lambda mistake: mistake.line)) from first
        line = line_of(self._text, self._index, "")
        rule = compiled.rule
        cautions = [*empty_keys(self._table), *warnings_of(rule), *lacking(rule, context.dialects)]
        warnings = tuple(self.mistake(one.key, one.problem, one.remedy, kind=one.kind) for one in cautions)
        where = f"{self._file}:{line}" if line else self._file
        return msgspec.structs.replace(compiled, where=where, warnings=warnings)

    def _convert(self, table: Table) -> Rule:
        if not isinstance(table, dict):
            raise InvalidRule("", "a rule must be a table", " Write [[rules]] above it.")
        for key in table:
            if key not in KEYS:
                raise InvalidRule(key, "unknown key", nearest_key(key))
        _check_needed(table)
        for key, kind in TABLES.items():
            self._check_table(table, key, kind)
        if "vars" in table and (wrong_vars := wrong_variable(table["vars"])):
            problem, _, remedy = wrong_vars.partition(". ")
            raise InvalidRule("vars", problem, f" {remedy}")
        if wrong := wrong_number(table, Rule):
            key, allowed = wrong
            raise InvalidRule(key, f"{table[key]} is not {allowed}", _REMEDY[key])
        try:
            return msgspec.convert(table, Rule)
        except msgspec.ValidationError as error:
            raise _mistyped(error) from error

    def _check_table(self, rule: Table, key: str, kind: type[msgspec.Struct]) -> None:
        table = rule.get(key)
        if not isinstance(table, dict):
            return
        fields = msgspec.structs.fields(kind)
        known = [field.encode_name for field in fields]
        for inner in table:
            if inner not in known:
                raise InvalidRule(key, f"unknown key {inner!r} in {key}", nearest(inner, known))
        for field in fields:
            if field.required and field.encode_name not in table:
                raise InvalidRule(
                    key,
                    f"the key {field.encode_name!r} is missing in {key}",
                    f" {key} takes {', '.join(known)}.",
                )

    def mistake(self, key: str, problem: str, remedy: str = "", *, kind: str = "mistake") -> Mistake:
        """A mistake, or a warning, with its file, line and rule."""
        number = f"no. {self._index + 1}"
        name = self._table.get("name", number) if isinstance(self._table, dict) else number
        return Mistake(
            file=self._file,
            line=line_of(self._text, self._index, key),
            rule=str(name),
            key=key,
            problem=problem,
            remedy=remedy.strip(),
            kind=kind,
        )


def _check_needed(table: Table) -> None:
    for key in ("name", "on"):
        if key not in table and not (key == "on" and "every" in table):
            missing = "the key 'on' or 'every' is missing" if key == "on" else f"the key {key!r} is missing"
            raise InvalidRule("", missing, _EXAMPLE[key])
    if isinstance(table.get("every"), list):
        remedy = f" Write one rule for each time. {EXAMPLE}"
        raise InvalidRule("every", "expected a text in quotes, not a list [ … ]", remedy)
    if "on" not in table and table["every"] == "":
        raise InvalidRule("every", "the text is empty", f" {EXAMPLE}")


_EXAMPLE = {
    "name": ' Write name = "upscale-all".',
    "on": ' Write on = "task.succeeded", or every = "0 9 * * mon".',
}

_REMEDY = {"limit": " Leave it out for no limit.", "priority": " Higher numbers are sent first."}


def _mistyped(error: msgspec.ValidationError) -> InvalidRule:
    """Reword msgspec's message ("Expected `str | array`, got `int` - at `$.press`")."""
    wrong = mistyped(error)
    key, _, inside = wrong.path.partition(".")
    key, bracket, _ = key.partition("[")
    within = f"in {wrong.path}, " if inside or bracket else ""
    return InvalidRule(key, f"{within}{wrong.problem}", _choices(wrong.path) if wrong.is_choice else "")


def _choices(path: str) -> str:
    key, _, inside = path.partition(".")
    kind, name = (TABLES[key], inside) if inside else (Rule, key)
    field = next(field for field in msgspec.structs.fields(kind) if field.encode_name == name)
    return f" Allowed: {', '.join(_allowed(field.type))}."


def _allowed(kind: object) -> list[str]:
    """What a field of this type may have, in the words of TOML."""
    if kind is bool:
        return ["true", "false"]
    if get_origin(kind) is list:
        return ["a list [ … ]"]
    if get_origin(kind) is Literal:
        return [str(value) for value in get_args(kind) if value]
    return [word for one in get_args(kind) for word in _allowed(one)]
