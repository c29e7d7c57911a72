"""Compile the [[rules]] of a configuration.

Not part of loading the settings: commands that only call the running server need no rules, and must work while the file's
rules have a mistake and the server still uses the old ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from dispatcher.rules.compile import CompiledRule, RuleContext
from dispatcher.rules.expressions import Evaluator, evaluate_here
from dispatcher.rules.macro_tables import unused
from dispatcher.rules.mistakes import Mistake, WrongRules
from dispatcher.rules.sources import Source, find_in
from hookchain.rules.include import Problem, included
from hookchain.rules.of_clients import unknown_rules
from hookchain.settings.file import display_path, parse, read
from hookchain.settings.load import SANDBOX, Settings, SettingsError
from midjourney.dialects import Dialect


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """A file that has rules or names files that have, as it was read, and what its rules may refer to. `name`: what messages call it,
    if it is not a file."""

    file: Path
    name: str = ""
    text: str
    include: Sequence[str] = ()
    upstreams: Collection[str] = ()
    dialects: Mapping[str, Dialect] = {}
    image_folders: Sequence[Path] = ()
    evaluator: Evaluator = evaluate_here
    variables: Mapping[str, str] | None = None


class RulesFound(msgspec.Struct, frozen=True, kw_only=True):
    """The rules that are right, the mistakes of the others, and warnings about the files."""

    rules: list[CompiledRule]
    mistakes: list[Mistake]
    warnings: list[Mistake]

    def all_right(self) -> list[CompiledRule]:
        """The rules. Raises `SettingsError` with all mistakes."""
        if self.mistakes:
            raise SettingsError(*WrongRules(self.mistakes).messages)
        return self.rules


def find_all(configuration: Configuration) -> RulesFound:
    """The rules of the file and of those that it includes. Raises `SettingsError` if the file itself cannot be parsed."""
    tables = parse(configuration.text, configuration.file, configuration.variables)
    found = included(configuration.include, configuration.file, configuration.variables)
    main = msgspec.structs.replace(
        _source(configuration, configuration.file, configuration.text, tables),
        file=configuration.name or display_path(configuration.file),
    )
    others = [_source(configuration, one.path, one.text, one.tables) for one in found.files]
    sources = [main, *others]
    rules, mistakes = find_in(sources)
    return RulesFound(
        rules=rules,
        mistakes=[*(_mistake(main, one, "mistake") for one in found.mistakes), *mistakes],
        warnings=[
            *(_mistake(main, one, "include") for one in found.warnings),
            *unused(sources),
            *(unknown_rules(main, [one.rule.name for one in rules]) if not mistakes else ()),
        ],
    )


def configured(settings: Settings, evaluator: Evaluator = evaluate_here) -> Configuration:
    """The text from which these settings were read."""
    return Configuration(
        file=settings.file,
        text=settings.text,
        include=settings.include,
        upstreams=settings.upstreams,
        dialects={
            name: settings.dialects[upstream.dialect]
            for name, upstream in settings.upstreams.items()
            if upstream.dialect in settings.dialects
        },
        image_folders=settings.image_folders,
        evaluator=evaluator,
    )


def rules_of(settings: Settings, evaluator: Evaluator = evaluate_here) -> list[CompiledRule]:
    """The rules in the text from which these settings were read. Raises `SettingsError`."""
    return find_all(configured(settings, evaluator)).all_right()


def read_rules(
    path: Path, upstreams: Collection[str], image_folders: Sequence[Path] = ()
) -> list[CompiledRule]:
    """The rules that are now in a file. Raises `SettingsError`."""
    text = read(path, required=False)
    return find_all(
        Configuration(
            file=path,
            text=text,
            include=includes_in(parse(text, path)),
            upstreams=upstreams,
            image_folders=image_folders,
        )
    ).all_right()


def includes_in(tables: Mapping[str, object]) -> list[str]:
    """What the key `include` of a file names; nothing if it is not a list of texts, which the settings report."""
    patterns = tables.get("include", [])
    return [one for one in patterns if isinstance(one, str)] if isinstance(patterns, list) else []


def _source(configuration: Configuration, path: Path, text: str, tables: Mapping[str, object]) -> Source:
    context = RuleContext(
        directory=path.parent,
        upstreams=configuration.upstreams or (SANDBOX,),
        dialects=configuration.dialects,
        image_folders=tuple(configuration.image_folders),
        evaluator=configuration.evaluator,
    )
    return Source(file=display_path(path), text=text, tables=tables, context=context)


def _mistake(main: Source, one: Problem, kind: str) -> Mistake:
    if not one.file:
        return main.mistake("include", one.problem, one.remedy, kind)
    return Mistake(
        file=one.file,
        line=one.line,
        rule=None,
        key=one.key,
        problem=one.problem,
        remedy=one.remedy,
        kind=kind,
    )
