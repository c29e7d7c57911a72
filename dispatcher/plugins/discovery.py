"""Finds plugins in modules, files and entry points. Loading one connects its receivers."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path

import msgspec

from dispatcher.plugins.errors import PluginError
from dispatcher.plugins.receivers import PLUGIN_PREFIX

ENTRY_POINTS = "hookchain.plugins"
"""The entry-point group of installed plugins."""


class Plugin(msgspec.Struct, frozen=True, kw_only=True):
    """A loaded plugin: its name and origin (a file, a module or an entry point)."""

    name: str
    origin: str


def load_plugins(named: Iterable[str], directory: Path) -> list[Plugin]:
    """Load the named modules and files, `plugins/*.py` of the directory, and installed entry points, each once.

    Raises `PluginError` for the first that fails, with file, line and cause: a server that starts without a plugin would
    miss events.
    """
    plugins: dict[str, Plugin] = {}
    for name in named:
        is_file = name.endswith(".py") or "/" in name
        plugin = _load_file(directory / name) if is_file else _load_module(name)
        plugins.setdefault(plugin.origin, plugin)
    for path in sorted((directory / "plugins").glob("*.py")):
        if not path.name.startswith("_") and str(path.resolve()) not in plugins:
            plugin = _load_file(path)
            plugins[plugin.origin] = plugin
    for point in entry_points(group=ENTRY_POINTS):
        if point.value not in plugins:
            plugins[point.value] = _load_entry_point(point.value)
    return list(plugins.values())


def _load_file(path: Path) -> Plugin:
    """Load a file as a module with a private name, so that `plugins/storage.py` does not shadow our `storage`."""
    origin = str(path.resolve())
    if not path.is_file():
        raise PluginError(f"plugin {path}: the file does not exist")
    name = f"{PLUGIN_PREFIX}{path.stem}"
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) != origin:
        raise PluginError(
            f"plugin {path}: another plugin file is also named {path.stem!r}; rename one of them"
        )
    spec = importlib.util.spec_from_file_location(name, origin)
    if spec is None or spec.loader is None:
        raise PluginError(f"plugin {path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _failed(str(path), error) from error
    return Plugin(name=path.stem, origin=origin)


def _load_module(name: str) -> Plugin:
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise _failed(f"module {name}", error) from error
    return Plugin(name=name, origin=name)


def _load_entry_point(value: str) -> Plugin:
    return msgspec.structs.replace(_load_module(value.split(":")[0]), origin=value)


def _failed(where: str, error: BaseException) -> PluginError:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "importlib" not in frame.filename]
    line = f", line {own[-1].lineno} of {own[-1].filename}" if own else ""
    if isinstance(error, SyntaxError):
        line = f", line {error.lineno} of {error.filename}"
    return PluginError(f"plugin {where} cannot be loaded: {type(error).__name__}: {error}{line}")
