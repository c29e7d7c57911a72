"""The settings of a plugin: the struct that it declares, filled from its table `[plugins.NAME]` while it is loaded.

Messages name keys, never values: a value may be a secret.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import msgspec

from dispatcher.plugins.errors import PluginError
from dispatcher.plugins.receivers import PLUGIN_PREFIX
from dispatcher.plugins.struct_check import struct_problems
from midjourney.nearest import nearest

S = TypeVar("S", bound=msgspec.Struct)


class PluginTables:
    """The tables `[plugins.NAME]` of a configuration, by the names of their plugins. `file` is named in messages."""

    def __init__(self, tables: Mapping[str, Mapping[str, object]], file: str = "hookchain.toml") -> None:
        self._tables = tables
        self._file = file
        self._taken: set[str] = set()

    def place(self, plugin: str) -> str:
        """Where a plugin's table is, for messages."""
        name = plugin if plugin.replace("-", "_").isidentifier() else f'"{plugin}"'
        return f"{self._file}, [plugins.{name}]"

    def take(self, module: str) -> tuple[str, Mapping[str, object]]:
        """The plugin that a module belongs to, and its table; a module without a table is its own plugin."""
        names = [name for name in self._tables if _is_in(module, name)]
        name = max(names, key=len, default=module)
        self._taken.add(name)
        return name, self._tables.get(name, {})

    def left_over(self, loaded: Mapping[str, bool]) -> list[str]:
        """What is wrong with the tables that no plugin took. `loaded` are the names of the plugins: whether each could be loaded."""
        problems = []
        for name in self._tables:
            if name not in loaded:
                remedy = nearest(name, loaded) if loaded else " There are no plugins."
                problems.append(f"{self.place(name)}: no plugin {name!r} is loaded.{remedy}")
            elif loaded[name] and name not in self._taken and not _declares(name):
                problems.append(
                    f"{self.place(name)}: the plugin takes no settings; remove the table,"
                    " or write settings = hookchain.plugin_settings(…) in the plugin"
                )
        return problems


def _is_in(module: str, plugin: str) -> bool:
    return module == plugin or module.startswith(f"{plugin}.")


_present: list[PluginTables] = []

_MARK = "__hookchain_settings__"
"""Set in modules that have declared settings. A module is imported once in a process, however often its plugin is loaded."""


def _declares(plugin: str) -> bool:
    return any(
        _is_in(name.removeprefix(PLUGIN_PREFIX), plugin) and hasattr(module, _MARK)
        for name, module in [*sys.modules.items()]
    )


@contextmanager
def given(tables: PluginTables) -> Iterator[None]:
    """Plugins that are loaded in this block take their settings from these tables."""
    _present.append(tables)
    try:
        yield
    finally:
        _present.remove(tables)


def plugin_settings(kind: type[S]) -> S:
    """The settings of the plugin that calls this at the top level of its module, from its table `[plugins.NAME]`.

    `kind` declares them: a `msgspec.Struct`, whose fields with a default may be left out of the table. NAME is the plugin's name in
    `hookchain plugins`. Outside hookchain, such as in a test that imports the module, all fields have their defaults.

    Raises `PluginError` with all mistakes of the table: unknown, missing and mistyped keys.
    """
    own_globals = sys._getframe(1).f_globals
    own_globals[_MARK] = True
    module = str(own_globals.get("__name__", "?")).removeprefix(PLUGIN_PREFIX)
    tables = _present[-1] if _present else PluginTables({})
    name, table = tables.take(module)
    place = tables.place(name)
    if problems := struct_problems(table, kind):
        raise PluginError(*(f"{place}: {problem}" for problem in problems))
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise PluginError(f"{place}: {error}") from error
