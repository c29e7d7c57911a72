"""`hookchain new rules NAME --from X`: a copy of a built-in example, of a file, or of a rule file at an https:// address."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from dispatcher.confined.frames import Refused
from dispatcher.confined.keeper import Broken
from dispatcher.rules.blueprint import Blueprint, blueprint_of, filled_rule, value_of
from dispatcher.rules.checks import InvalidRule
from dispatcher.rules.foreign import Foreign, judged
from dispatcher.rules.mistakes import Mistake
from dispatcher.rules.variables import Scalar
from hookchain.cli.api import CallFailed
from hookchain.cli.output import say
from hookchain.cli.rule_copy import Tables, copied, tables_of, variables_in
from hookchain.cli.rule_sources import RuleText, description_of, examples, found
from hookchain.cli.rule_summary import summary
from hookchain.printable import printable
from hookchain.settings.conversion import SettingsError
from midjourney.nearest import nearest


def list_examples() -> None:
    """Print the built-in examples, each with what it is for."""
    for name, path in examples().items():
        say(f"{name}\t{printable(description_of(path.read_text(encoding='utf-8')))}")


def copy(name: str, source: str, given: Sequence[str], *, yes: bool, allow_variables: bool) -> Path:
    """Write NAME.toml, after showing what its rules may do. Raises `SettingsError`, and `CallFailed` if the user says no."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise SettingsError(
            f"{name!r} is not a valid name: use lower-case letters, digits, - and _, such as my-zooms"
        )
    path = Path(f"{name}.toml")
    if path.exists():
        raise SettingsError(f"{path} already exists; choose another name, or move the file")
    rule_text = found(source)
    is_own = rule_text.kind == "built-in"
    tables = tables_of(rule_text.text, rule_text.where, is_own=is_own)
    check_variables(rule_text, tables, allowed=allow_variables)
    values = _values(_blueprint(rule_text, tables), given, rule_text.where)
    text = copied(rule_text.text, name, rule_text.where, values, is_own=is_own)
    if not is_own:
        _check(rule_text, text, tables_of(text, rule_text.where))
    _show(rule_text, tables_of(text, rule_text.where, is_own=is_own), values)
    if not is_own and not yes:
        _confirm(path)
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error
    return path


def check_variables(rule_text: RuleText, tables: Tables, *, allowed: bool) -> None:
    """Refuse a file from the web that reads the environment, unless the user allows it. Raises `SettingsError`."""
    names = variables_in(tables)
    if names and rule_text.kind == "https" and not allowed:
        raise SettingsError(
            f"{rule_text.where} reads {', '.join(f'${{{name}}}' for name in names)} of your environment, and could send it to a stranger; "
            "read the file, and add --allow-variables if that is what you want"
        )


def _blueprint(rule_text: RuleText, tables: Tables) -> Blueprint:
    try:
        return blueprint_of(tables["blueprint"]) if "blueprint" in tables else Blueprint()
    except InvalidRule as error:
        raise SettingsError(f"{rule_text.where}, {error.key}: {error}") from error


def _values(blueprint: Blueprint, given: Sequence[str], where: str) -> dict[str, Scalar]:
    """The values of the inputs: those given, those in the file, and those that a person is asked for."""
    values, problems = dict(blueprint.values), list[str]()
    for one in given:
        name, equals, text = one.partition("=")
        if not equals:
            problems.append(f"--set {one}: write --set NAME=VALUE")
        elif name not in blueprint.inputs:
            known = nearest(name, blueprint.inputs) if blueprint.inputs else f" {where} has no inputs."
            problems.append(f"--set {name}: no input is named {name!r}.{known}")
        else:
            try:
                values[name] = value_of(name, blueprint.inputs[name], text)
            except InvalidRule as error:
                problems.append(f"--set {error}")
    missing = [name for name, one in blueprint.inputs.items() if name not in values and one.default is None]
    if missing and not problems and sys.stdin.isatty():
        return values | {name: _asked(name, blueprint) for name in missing}
    problems += [
        f"--set {name}=… is missing: {blueprint.inputs[name].description or blueprint.inputs[name].type}"
        for name in missing
    ]
    if problems:
        raise SettingsError(*map(printable, problems))
    return values


def _asked(name: str, blueprint: Blueprint) -> Scalar:
    one = blueprint.inputs[name]
    while True:
        about = f" ({one.description})" if one.description else ""
        try:
            return value_of(name, one, str(typer.prompt(printable(f"{name}{about}, {one.type}"), err=True)))
        except InvalidRule as error:
            say(printable(str(error)), to_errors=True)


def _check(rule_text: RuleText, text: str, tables: Tables) -> None:
    """Check the copy as `rules check` would. Raises `SettingsError` with all mistakes."""
    directory = str(Path.cwd()) if rule_text.kind == "file" else ""
    try:
        judgement = asyncio.run(judged(Foreign(name=rule_text.where, text=text, directory=directory)))
    except (Refused, Broken) as error:
        raise SettingsError(f"{rule_text.where} cannot be checked: {error}") from error
    if mistakes := [one for one in judgement.mistakes if not _is_variable(one, tables)]:
        raise SettingsError(*(printable(str(one)) for one in mistakes))
    for warning in (one for one in judgement.warnings if not _is_variable(one, tables)):
        say(f"! {printable(str(warning))}", to_errors=True)


def _is_variable(mistake: Mistake, tables: Tables) -> bool:
    """True for a key whose value comes from the environment: it is checked when the rules are read."""
    rules = tables["rules"]
    assert isinstance(rules, list)
    return any(
        rule.get("name") == mistake.rule and mistake.key and bool(variables_in(rule.get(mistake.key)))
        for rule in rules
    )


def _show(rule_text: RuleText, tables: Tables, values: Mapping[str, Scalar]) -> None:
    about = description_of(rule_text.text)
    say(printable(f"from {rule_text.where}: {about}"), to_errors=True)
    blueprint = _blueprint(rule_text, tables)
    for name, one in blueprint.inputs.items():
        meaning = f" ({one.description})" if one.description else ""
        say(printable(f"input {name}{meaning}: {blueprint.filled[name]}"), to_errors=True)
    for line in summary(_filled(tables, values), is_foreign=rule_text.kind != "built-in"):
        say(printable(line), to_errors=True)


def _filled(tables: Tables, values: Mapping[str, Scalar]) -> Tables:
    if "blueprint" not in tables:
        return tables
    rules = tables["rules"]
    assert isinstance(rules, list)
    given = blueprint_of(tables["blueprint"]).filled | dict(values)
    return tables | {"rules": [filled_rule(rule, given) for rule in rules]}


def _confirm(path: Path) -> None:
    if not sys.stdin.isatty():
        raise SettingsError("nothing was written: add --yes to write it without being asked")
    if not typer.confirm(f"Write {path}?", err=True):
        raise CallFailed("nothing was written")
