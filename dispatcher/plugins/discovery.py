"""Finds plugins in modules, files and entry points, loads them, and says which of their receivers can never run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import msgspec

from dispatcher.plugins import receiver_checks as checks
from dispatcher.plugins.errors import PluginError
from dispatcher.plugins.loading import load_entry_point, load_file, load_module
from dispatcher.plugins.plugin_settings import PluginTables, given
from dispatcher.plugins.plugin_signal import Connection, Recording, recording
from dispatcher.plugins.receivers import name_of
from dispatcher.plugins.signals import ALL_SIGNALS

ENTRY_POINTS = "hookchain.plugins"
"""The entry-point group of installed plugins."""

_LEFT_ALONE = ("_", ".")
"""Names in plugins/ that begin like this are not plugins: `_common.py` helps others."""

_NOT_PYTHON = (".py.txt", ".pyc", ".pyw", ".py.bak", ".py.disabled", ".PY")


class Plugin(msgspec.Struct, frozen=True, kw_only=True):
    """A loaded plugin: its name and origin (a file, a module or an entry point)."""

    name: str
    origin: str


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The loaded plugins, what they connected, why hookchain cannot start with them, and what is probably a mistake."""

    plugins: list[Plugin]
    connections: list[Connection]
    problems: list[str]
    warnings: list[str]


class _Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin that is to be loaded. `called` names it in messages, `remedy` says what to do if it registers no receiver."""

    name: str
    origin: str
    called: str
    remedy: str
    load: Callable[[], ModuleType]


def load_plugins(named: Iterable[str], directory: Path, tables: PluginTables | None = None) -> list[Plugin]:
    """Load the named modules and files, all of `plugins/` in the directory, and installed entry points, each once.

    Raises `PluginError` with all problems: a server that starts without a plugin would miss events.
    """
    found = find_plugins(named, directory, tables)
    if found.problems:
        raise PluginError(*found.problems)
    return found.plugins


def find_plugins(
    named: Iterable[str], directory: Path, tables: PluginTables | None = None, *, only_named: bool = False
) -> Found:
    """Load what `load_plugins` loads, or only the named, and collect the problems. What a plugin with a problem connected stays
    connected, unless it could not be loaded at all. `tables` are the settings of plugins."""
    tables = tables or PluginTables({})
    plugins: dict[str, Plugin] = {}
    problems: list[str] = []
    warnings = [] if only_named else _left_out(directory)
    whole = Recording()
    names: dict[str, bool] = {}
    for candidate in _named(named, directory) if only_named else _candidates(named, directory):
        if candidate.origin in plugins:
            continue
        names[candidate.name] = False
        with recording() as made, given(tables):
            try:
                module = candidate.load()
            except PluginError as error:
                made.undo()
                problems += error.problems
                continue
        names[candidate.name] = True
        plugins[candidate.origin] = Plugin(name=candidate.name, origin=candidate.origin)
        whole.connections += [one for one in made.connections if one.signal.is_connected(one.function)]
        whole.with_options += made.with_options
        if not _registers(module, made):
            warnings.append(f"{candidate.called} registers no receiver: {candidate.remedy}")
    return Found(
        plugins=list(plugins.values()),
        connections=whole.connections,
        problems=[*problems, *_problems(whole, directory), *([] if only_named else tables.left_over(names))],
        warnings=[*warnings, *_warnings(whole.connections, directory)],
    )


def _named(named: Iterable[str], directory: Path) -> Iterator[_Candidate]:
    listed = "; remove it from HOOKCHAIN_PLUGINS if it is not a plugin"
    for name in named:
        if name.endswith(".py") or "/" in name:
            yield _of_file(directory / name, directory, f"{_CONNECT}{listed}")
        else:
            yield _Candidate(
                name=name,
                origin=name,
                called=f"plugin module {name}",
                remedy=f"{_CONNECT}{listed}",
                load=lambda name=name: load_module(name),  # type: ignore[misc]  # mypy does not infer the default
            )


def _candidates(named: Iterable[str], directory: Path) -> Iterator[_Candidate]:
    yield from _named(named, directory)
    for path in sorted((directory / "plugins").glob("*")):
        if not path.name.startswith(_LEFT_ALONE) and (
            path.suffix == ".py" or (path / "__init__.py").is_file()
        ):
            yield _of_file(path, directory, f"{_CONNECT}, or rename it to _{path.name}, which is left alone")
    for point in entry_points(group=ENTRY_POINTS):
        yield _Candidate(
            name=point.module,
            origin=point.value,
            called=f"plugin entry point {point.name} = {point.value}",
            remedy=f"{_CONNECT} when its module is imported, or name the function that does: {point.module}:FUNCTION",
            load=lambda point=point: load_entry_point(point),  # type: ignore[misc]  # mypy does not infer the default
        )


_CONNECT = "connect a function, for example with @task_succeeded.connect"


def _of_file(path: Path, directory: Path, remedy: str) -> _Candidate:
    shown = path.relative_to(directory) if path.is_relative_to(directory) else path
    return _Candidate(
        name=path.name if path.is_dir() else path.stem,
        origin=str(path.resolve()),
        called=f"plugin {shown}",
        remedy=remedy,
        load=lambda: load_file(path),
    )


def _left_out(directory: Path) -> list[str]:
    """Warnings about what lies in plugins/ and looks like a plugin, but is not loaded."""
    folder, warnings = directory / "plugins", []
    if folder.is_file():
        return ["plugins is a file; hookchain loads plugins from a folder with this name"]
    for path in sorted(folder.glob("*")):
        if path.name.startswith(_LEFT_ALONE):
            continue
        if path.name.endswith(_NOT_PYTHON) and path.is_file():
            warnings.append(f"plugins/{path.name} is not loaded: only files whose name ends in .py are")
        elif path.is_dir() and not (path / "__init__.py").is_file() and any(path.glob("*.py")):
            warnings.append(
                f"plugins/{path.name} is not loaded: the folder has no __init__.py."
                " Write one that imports its modules, or move these into plugins/"
            )
    return warnings


def _registers(module: ModuleType, made: Recording) -> bool:
    """True if the plugin connected anything, now or when something else imported it before."""
    inside = f"{module.__name__}."
    return any(one.signal.is_connected(one.function) for one in made.connections) or any(
        f"{getattr(function, '__module__', None)}.".startswith(inside)
        for signal in ALL_SIGNALS
        for function in signal.functions()
    )


def _problems(whole: Recording, directory: Path) -> list[str]:
    checked: tuple[Check, ...] = (_signature_problem, checks.options_problem, checks.sender_problem)
    found = [line for check in checked for line in _found(check, whole.connections, directory)]
    return [
        *found,
        *checks.name_problems(whole.connections, directory),
        *checks.unused_options(whole, directory),
    ]


def _warnings(connections: list[Connection], directory: Path) -> list[str]:
    return [
        line
        for check in (_signature_warning, checks.sender_warning)
        for line in _found(check, connections, directory)
    ]


Check = Callable[[Connection], str]
"""Says what is wrong with a connection; "" if nothing is."""


def _signature_problem(connection: Connection) -> str:
    return checks.signature_problem(connection.function, connection.signal.arguments)


def _signature_warning(connection: Connection) -> str:
    if _signature_problem(connection):
        return ""
    return checks.signature_warning(connection.function, connection.signal.arguments)


def _found(check: Check, connections: list[Connection], directory: Path) -> list[str]:
    """What the check says of each receiver, once if it is connected to several signals."""
    lines = [
        f"{checks.where(one.function, directory)}, {name_of(one.function)}: {message}"
        for one in connections
        if (message := check(one))
    ]
    return list(dict.fromkeys(lines))
