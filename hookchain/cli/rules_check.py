"""`hookchain rules check`: read files as `serve` would, and report everything that is wrong or doubtful in them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from dispatcher.rules.checks import action_keys
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.mistakes import Mistake
from hookchain.cli.output import say, say_json
from hookchain.printable import printable
from hookchain.rules import configured, find_all, includes_in
from hookchain.settings.environment import CONFIG, TOML
from hookchain.settings.file import display_path, parse, read
from hookchain.settings.lines import line_of
from hookchain.settings.load import Settings, SettingsError, load_settings
from midjourney.dialects import Upstream

WRONG, DOUBTFUL = 2, 1
"""Exit codes: the configuration is wrong; it is right, but there are warnings and --strict was given."""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What a file has: its right rules, and everything to report about it."""

    file: str
    rules: list[CompiledRule]
    mistakes: list[Mistake]
    warnings: list[Mistake]


def check_files(files: Iterable[Path], *, as_json: bool, strict: bool) -> int:
    """Check files, print what was found, and return the exit code."""
    checked = [check_file(file) for file in files]
    if as_json:
        say_json(_json(checked))
    else:
        for one in checked:
            _print(one)
    if any(one.mistakes for one in checked):
        return WRONG
    return DOUBTFUL if strict and any(one.warnings for one in checked) else 0


def check_file(file: Path) -> Checked:
    """Read a whole file as `serve` would with this environment: settings, upstreams, budgets, dialects and rules."""
    path = Path.cwd() / file
    try:
        text = read(path, required=True)
        tables = parse(text, path)
    except SettingsError as error:
        return Checked(file=display_path(path), rules=[], mistakes=_located(error, path), warnings=[])
    try:
        settings, mistakes = _settings(path), []
        warnings = [_warning(path, price) for price in settings.price_warnings]
    except SettingsError as error:
        settings, mistakes, warnings = _without_settings(path, text, tables), _located(error, path), []
    found = find_all(configured(settings))
    warnings = [*(warning for rule in found.rules for warning in rule.warnings), *found.warnings, *warnings]
    return Checked(
        file=display_path(path), rules=found.rules, mistakes=[*mistakes, *found.mistakes], warnings=warnings
    )


def _settings(path: Path) -> Settings:
    environment = {name: value for name, value in os.environ.items() if name != TOML}
    return load_settings(environment | {CONFIG: str(path)})


def _without_settings(path: Path, text: str, tables: dict[str, object]) -> Settings:
    """What the rules of a file need to be checked although its settings are wrong: the names of its upstreams."""
    named = tables.get("upstreams")
    return msgspec.structs.replace(
        load_settings({TOML: "# nothing"}),
        file=path,
        text=text,
        include=tuple(includes_in(tables)),
        dialects={},  # unknown: they may be what is wrong
        upstreams={name: Upstream(name=name, url="") for name in named} if isinstance(named, dict) else {},
    )


def _located(error: SettingsError, path: Path) -> list[Mistake]:
    """The messages of the settings, each with its line."""
    file = display_path(path)
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError:
        text = ""
    return [
        Mistake(
            file=file,
            line=line_of(text, message),
            rule=None,
            key="",
            problem=message.replace(str(path), file),
            remedy="",
            kind="settings",
        )
        for message in error.messages
    ]


def _warning(path: Path, problem: str) -> Mistake:
    return Mistake(
        file=display_path(path), line=0, rule=None, key="prices", problem=problem, remedy="", kind="prices"
    )


def _print(checked: Checked) -> None:
    for rule in checked.rules:
        off = "" if rule.rule.enabled else " (switched off)"
        hears = f"every {rule.rule.every}" if rule.rule.every else f"on {' or '.join(rule.rule.signals)}"
        say(f"{rule.where}: {rule.rule.name}: {hears}, {', '.join(action_keys(rule.rule))}{off}")
    if checked.mistakes:
        say(f"{checked.file}: {_number(checked.mistakes, 'mistake')}")
    else:
        say("1 rule, valid" if len(checked.rules) == 1 else f"{len(checked.rules)} rules, all valid")
    for warning in checked.warnings:
        say(f"! {printable(text_of(warning))}")
    for mistake in checked.mistakes:
        say(f"hookchain: {printable(text_of(mistake))}", to_errors=True)


def text_of(mistake: Mistake) -> str:
    """The message as `serve` prints it. Those about settings name the file, and here also the line."""
    if mistake.rule is not None or mistake.kind not in ("settings", "prices"):
        return str(mistake)
    at_line = f"{mistake.file}:{mistake.line}" if mistake.line else mistake.file
    return mistake.problem.replace(mistake.file, at_line, 1)


def _number(things: list[Mistake], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _json(checked: list[Checked]) -> dict[str, object]:
    return {
        "files": [{"file": one.file, "rules": len(one.rules)} for one in checked],
        "mistakes": [mistake for one in checked for mistake in one.mistakes],
        "warnings": [warning for one in checked for warning in one.warnings],
    }
