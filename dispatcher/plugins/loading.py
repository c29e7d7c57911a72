"""Loads one plugin: a file, a folder with __init__.py, a module or an entry point. Loading it connects its receivers."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

from dispatcher.plugins.errors import PluginError
from dispatcher.plugins.plugin_signal import is_same
from dispatcher.plugins.receivers import PLUGIN_PREFIX
from dispatcher.plugins.signals import ALL_SIGNALS

BUILT_IN = "hookchain.plugins"


def load_file(path: Path) -> ModuleType:
    """Load a file or a package folder as a module with a private name, so that `plugins/storage.py` does not shadow our `storage`.

    Raises `PluginError`.
    """
    source = path / "__init__.py" if path.is_dir() else path
    if not source.is_file():
        raise PluginError(f"plugin {path}: {_missing(path)}")
    origin = str(source.resolve())
    name = f"{PLUGIN_PREFIX}{path.stem if path is source else path.name}"
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) != origin:
        other = name.removeprefix(PLUGIN_PREFIX)
        raise PluginError(f"plugin {path}: another plugin file is also named {other!r}; rename one of them")
    folders = [str(path.resolve())] if path.is_dir() else None
    spec = importlib.util.spec_from_file_location(name, origin, submodule_search_locations=folders)
    if spec is None or spec.loader is None:
        raise PluginError(f"plugin {path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _failed(str(path), error) from error
    return module


def _missing(path: Path) -> str:
    if path.is_dir():
        return "the folder has no __init__.py, which would load its receivers"
    file = path.with_name(f"{path.name}.py")
    close = file if file.is_file() else _nearest_file(path)
    return "the file does not exist" + (f"; did you mean {close}?" if close else "")


def _nearest_file(path: Path) -> Path | None:
    for folder in (path.parent, path.parent / "plugins"):
        names = [file.name for file in folder.glob("*.py")]
        if close := difflib.get_close_matches(path.name, names, n=1, cutoff=0.75):
            return folder / close[0]
    return None


def load_module(name: str) -> ModuleType:
    """Import a module. Raises `PluginError`."""
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise _failed(f"module {name}", error, _meant(name, error)) from error


def _meant(name: str, error: BaseException) -> str:
    """The built-in plugin of that name, if the module does not exist."""
    if not isinstance(error, ModuleNotFoundError) or error.name != name:
        return ""
    package = importlib.import_module(BUILT_IN)
    built_in = [module.name for module in pkgutil.iter_modules(package.__path__)]
    close = difflib.get_close_matches(name.rpartition(".")[2], built_in, n=1, cutoff=0.75)
    return f"; did you mean {BUILT_IN}.{close[0]}?" if close else ""


def load_entry_point(point: EntryPoint) -> ModuleType:
    """Import the module of an entry point, and call the function or class that it names, unless that is a receiver itself.

    Raises `PluginError`.
    """
    module = load_module(point.module)
    if not point.attr:
        return module
    where = f"entry point {point.name} = {point.value}"
    named: Any = module
    for part in point.attr.split("."):
        if not hasattr(named, part):
            close = difflib.get_close_matches(part, dir(named), n=1, cutoff=0.6)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise PluginError(f"plugin {where}: {point.module} has no {point.attr}{hint}")
        named = getattr(named, part)
    if callable(named) and not _is_receiver(named):
        _call(where, named)
    return module


def _is_receiver(function: Callable[..., Any]) -> bool:
    return any(is_same(function, known) for signal in ALL_SIGNALS for known in signal.functions())


def _call(where: str, function: Callable[..., Any]) -> None:
    try:
        needed = [
            parameter.name
            for parameter in inspect.signature(function).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
    except ValueError:
        needed = []  # a function in C that does not tell its parameters
    if needed:
        raise PluginError(
            f"plugin {where}: it is called without arguments when hookchain starts, but needs `{', '.join(needed)}`;"
            " give its parameters defaults"
        )
    if inspect.iscoroutinefunction(function):
        raise PluginError(
            f"plugin {where}: it is called when hookchain starts, before anything is awaited;"
            " write `def` instead of `async def`"
        )
    try:
        function()
    except (Exception, SystemExit) as error:
        raise _failed(where, error) from error


def _failed(where: str, error: BaseException, remedy: str = "") -> PluginError:
    if isinstance(error, PluginError):
        return error  # its settings are wrong; the messages say where
    frames = traceback.extract_tb(error.__traceback__)
    # The line of the plugin, not that of a function of ours that it called.
    own = [frame for frame in frames if "importlib" not in frame.filename and not _is_ours(frame.filename)]
    line = f", line {own[-1].lineno} of {own[-1].filename}" if own else ""
    if misspelt := re.match(r"cannot import name '(\w+)' from 'hookchain'", str(error)):
        error = ImportError(f"hookchain has no {misspelt[1]}")
        close = difflib.get_close_matches(misspelt[1], importlib.import_module("hookchain").__all__, n=1)
        remedy = f"; did you mean {close[0]}?" if close else ""
    if isinstance(error, SyntaxError):
        line = f", line {error.lineno} of {error.filename}"
    return PluginError(f"plugin {where} cannot be loaded: {type(error).__name__}: {error}{line}{remedy}")


def _is_ours(file: str) -> bool:
    return Path(file).parent == Path(__file__).parent
