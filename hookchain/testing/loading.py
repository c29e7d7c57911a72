"""Loads what a test runs: rules with the settings of their file, and plugins."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from dispatcher.plugins import own_windows
from dispatcher.plugins.discovery import load_plugins
from dispatcher.plugins.errors import PluginError
from dispatcher.plugins.plugin_settings import PluginTables, given
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.mistakes import WrongRules
from hookchain.rules import configured, find_all
from hookchain.settings.environment import CONFIG, TOML
from hookchain.settings.file import MissingVariables, read
from hookchain.settings.load import Settings, SettingsError, load_settings
from hookchain.testing.files import NoSuchFile, found

_HERE = "rules"
"""The name of a text in messages."""


class LoadedFile(msgspec.Struct, frozen=True):
    """The rules of a file or text, and its settings."""

    rules: list[CompiledRule]
    settings: Settings


def rules_in(
    source: str | Path, places: Sequence[Path], environment: Mapping[str, str], upstreams: Collection[str]
) -> LoadedFile:
    """Read a whole file, or a text that contains [[rules]], as `hookchain serve` would.

    Variables in it are those of `environment`, or else of the process; the settings that variables make are only those of
    `environment`, so that a test does not depend on the machine. `upstreams` are those that exist if it configures none.
    Raises `RuleError` or `SettingsError` for a mistake, `NoSuchFile`.
    """
    is_text = not isinstance(source, Path) and "[[" in source
    file = places[0].absolute() / _HERE if is_text else found(source, places)
    text = str(source) if is_text else read(file, required=True)
    given = {TOML: text} if is_text else {CONFIG: str(file)}
    variables = {**os.environ, **environment}
    try:
        settings = load_settings({**environment, **given}, file.parent, variables)
    except MissingVariables as error:
        cures = (
            f'set it in the test: hookchain.environment["{name}"] = "…", or monkeypatch.setenv("{name}", "…")'
            for name in error.variables
        )
        raise SettingsError(
            *(f"{message}; {cure}" for message, cure in zip(error.messages, cures, strict=True))
        ) from error
    configuration = msgspec.structs.replace(
        configured(settings),
        file=file,
        name=_HERE if is_text else "",
        upstreams=settings.upstreams or upstreams,
        variables=variables,
    )
    rules = find_all(configuration)
    if rules.mistakes:
        raise WrongRules(rules.mistakes)
    return LoadedFile(rules.rules, settings)


def load_plugin(source: str | Path, places: Sequence[Path], settings: Mapping[str, object]) -> None:
    """Load a plugin from a file or a module, as the server does, with the settings of its table. Raises `PluginError`."""
    own_windows.connect()
    name = str(source)
    if name.endswith(".py"):
        try:
            name = str(found(name, places))
        except NoSuchFile as error:
            raise PluginError(f"plugin {error}") from error
    plugin = Path(name).stem if name.endswith(".py") else name
    tables = PluginTables({plugin: settings} if settings else {}, "the test")
    if name in sys.modules:
        with given(tables):
            importlib.reload(
                sys.modules[name]
            )  # an earlier test imported it, and then disconnected its receivers
        return
    load_plugins([name], places[0] / "no plugins beside it", tables)
