"""Compile the [[rules]] of a configuration.

Not part of loading the settings: commands that only call the running server need no rules, and must work while the file's
rules have a mistake and the server still uses the old ones.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from dispatcher.plugins.errors import RuleError
from dispatcher.rules.compile import CompiledRule, RuleContext
from dispatcher.rules.expressions import Evaluator, evaluate_here
from dispatcher.rules.load import find_rules, load_rules
from dispatcher.rules.mistakes import Mistake
from hookchain.settings.file import display_path, parse, read
from hookchain.settings.load import SANDBOX, Settings, SettingsError


def rules_of(settings: Settings, evaluator: Evaluator = evaluate_here) -> list[CompiledRule]:
    """The rules in the text from which these settings were read. Raises `SettingsError`."""
    return _compiled(settings.text, settings.file, settings.upstreams, settings.image_folders, evaluator)


def read_rules(
    path: Path,
    upstreams: Collection[str],
    image_folders: Sequence[Path] = (),
    evaluator: Evaluator = evaluate_here,
) -> list[CompiledRule]:
    """The rules that are now in a file. Raises `SettingsError`."""
    return _compiled(read(path, required=False), path, upstreams, image_folders, evaluator)


def find_all(settings: Settings) -> tuple[list[CompiledRule], list[Mistake]]:
    """The rules in the text of these settings that are right, and the mistakes of the others. Raises `SettingsError`."""
    context = RuleContext(
        directory=settings.file.parent,
        upstreams=settings.upstreams or (SANDBOX,),
        image_folders=settings.image_folders,
    )
    tables = parse(settings.text, settings.file).get("rules", [])
    return find_rules(tables, file=display_path(settings.file), text=settings.text, context=context)


def _compiled(
    text: str, path: Path, upstreams: Collection[str], image_folders: Sequence[Path], evaluator: Evaluator
) -> list[CompiledRule]:
    tables = parse(text, path).get("rules", [])
    try:
        return load_rules(
            tables,
            file=display_path(path),
            text=text,
            directory=path.parent,
            upstreams=upstreams or (SANDBOX,),
            image_folders=image_folders,
            evaluator=evaluator,
        )
    except RuleError as error:
        raise SettingsError(*error.messages) from error
