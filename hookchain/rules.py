"""The [[rules]] of a configuration, compiled. Apart from the settings, since a client of a running server needs none:
it goes on with the old rules while the new ones have a mistake."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from dispatcher.errors import RuleError
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.load import load_rules
from hookchain.file import parse, read, short
from hookchain.settings import SANDBOX, Settings, SettingsError


def rules_of(settings: Settings) -> list[CompiledRule]:
    """The rules of the text that these settings were read from. Raises `SettingsError`."""
    return _compiled(settings.text, settings.file, settings.upstreams)


def read_rules(path: Path, upstreams: Collection[str]) -> list[CompiledRule]:
    """The rules that stand in a file now. Raises `SettingsError`."""
    return _compiled(read(path, required=False), path, upstreams)


def _compiled(text: str, path: Path, upstreams: Collection[str]) -> list[CompiledRule]:
    tables = parse(text, path).get("rules", [])
    try:
        return load_rules(
            tables, file=short(path), text=text, directory=path.parent, upstreams=upstreams or (SANDBOX,)
        )
    except RuleError as error:
        raise SettingsError(str(error)) from error
