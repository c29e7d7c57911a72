"""The files that hold rules, as they are read: their `[vars]`, `[macros]` and `[blueprint]` are checked and filled in
before their rules are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dispatcher.rules.blueprint import Blueprint, blueprint_of, filled_rule
from dispatcher.rules.checks import InvalidRule
from dispatcher.rules.compile import CompiledRule, RuleContext
from dispatcher.rules.lines import line_of, line_of_key
from dispatcher.rules.lint.shared import with_shared_buttons
from dispatcher.rules.load import find_rules
from dispatcher.rules.macro_tables import macros_in
from dispatcher.rules.mistakes import Mistake
from dispatcher.rules.variables import Given, Scalar, Variables, wrong_variable

OF_RULES = ("rules", "vars", "macros", "blueprint")
"""The keys at the top of a file that are about rules: an included file has no others."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A file with rules: its name in messages, its text, its tables, and what its rules may refer to."""

    file: str
    text: str
    tables: Mapping[str, object]
    context: RuleContext

    def mistake(self, key: str, problem: str, remedy: str = "", kind: str = "mistake") -> Mistake:
        """A mistake, or a warning, outside of the rules."""
        line = line_of_key(self.text, key)
        return Mistake(
            file=self.file, line=line, rule=None, key=key, problem=problem, remedy=remedy.strip(), kind=kind
        )


def find_in(sources: Sequence[Source]) -> tuple[list[CompiledRule], list[Mistake]]:
    """The rules of all files that are right, and the mistakes of the others. The first file's `[vars]` are for all files,
    and so are the `[macros]` of each."""
    rules: list[CompiledRule] = []
    macros, mistakes = macros_in(sources)
    shared: Variables = {}
    for source in sources:
        variables, wrong = _variables_of(source)
        mistakes += wrong
        shared = variables if source is sources[0] else shared
        blueprint, tables, wrong = _filled(source, variables)
        mistakes += wrong
        if tables is None:
            continue
        given: Variables = {**shared, **variables, **(blueprint.filled if blueprint else {})}
        context = msgspec.structs.replace(source.context, variables=Given(given, macros))
        found, wrong = find_rules(
            tables,
            file=source.file,
            text=source.text,
            context=context,
            others={rule.rule.name: rule.where for rule in rules},
        )
        rules += found
        mistakes += wrong
    return with_shared_buttons(rules), mistakes


def _variables_of(source: Source) -> tuple[Variables, list[Mistake]]:
    """The file's `[vars]`."""
    table = source.tables.get("vars", {})
    if wrong := wrong_variable(table):
        problem, _, remedy = wrong.partition(". ")
        return {}, [source.mistake("vars", problem, remedy)]
    assert isinstance(table, dict)
    return table, []


def _filled(source: Source, variables: Variables) -> tuple[Blueprint | None, object | None, list[Mistake]]:
    """The file's blueprint, and its `rules` with the values filled in; None if they cannot be used."""
    rules = source.tables.get("rules", [])
    if "blueprint" not in source.tables:
        return None, rules, []
    try:
        blueprint = blueprint_of(source.tables["blueprint"])
    except InvalidRule as error:
        return None, None, [source.mistake(error.key, error.problem, error.remedy)]
    if both := sorted(blueprint.inputs.keys() & variables.keys()):
        problem = f"{both[0]!r} is an input and a variable of [vars]"
        return blueprint, None, [source.mistake("vars", problem, "Rename one of them.")]
    if missing := blueprint.missing:
        return blueprint, None, [source.mistake("blueprint", *_unfilled(missing))]
    if not isinstance(rules, list):
        return blueprint, rules, []
    return blueprint, *_filled_rules(source, rules, blueprint.filled)


def _unfilled(missing: Sequence[str]) -> tuple[str, str]:
    what = "input has" if len(missing) == 1 else "inputs have"
    setting = " ".join(f"--set {name}=…" for name in missing)
    return (
        f"{len(missing)} {what} no value: {', '.join(missing)}",
        f"Write {missing[0]} = … below [blueprint.values], or make a filled copy: hookchain new rules NAME --from FILE {setting}",
    )


def _filled_rules(
    source: Source, rules: Sequence[object], values: Mapping[str, Scalar]
) -> tuple[object | None, list[Mistake]]:
    filled: list[object] = []
    mistakes: list[Mistake] = []
    for index, rule in enumerate(rules):
        try:
            filled.append(filled_rule(rule, values) if isinstance(rule, dict) else rule)
        except InvalidRule as error:
            name = rule.get("name", f"no. {index + 1}") if isinstance(rule, dict) else f"no. {index + 1}"
            mistakes.append(
                Mistake(
                    file=source.file,
                    line=line_of(source.text, index, error.key),
                    rule=str(name),
                    key=error.key,
                    problem=error.problem,
                    remedy=error.remedy.strip(),
                )
            )
    return (None if mistakes else filled), mistakes
