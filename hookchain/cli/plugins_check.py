"""`hookchain plugins check`: load plugins without a server, and report their receivers and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from dispatcher.plugins.discovery import find_plugins
from dispatcher.plugins.plugin_settings import PluginTables
from dispatcher.plugins.plugin_signal import ANY, Connection
from dispatcher.plugins.receiver_checks import where
from dispatcher.plugins.receivers import DEFAULTS, name_of, options_of
from hookchain.cli.output import say, say_json
from hookchain.printable import printable
from hookchain.settings.file import display_path
from hookchain.settings.load import Settings


class CheckedReceiver(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver: where it is, the signals and senders that it hears ("task.succeeded", "task.failed IMAGINE"), and its options
    that are not the defaults ("attempts=3")."""

    name: str
    where: str
    hears: list[str]
    options: list[str]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What the check found. Problems would stop the start."""

    plugins: list[str]
    receivers: list[CheckedReceiver]
    problems: list[str]
    warnings: list[str]


def check_plugins(settings: Settings, named: Sequence[str], *, as_json: bool, strict: bool) -> int:
    """Print what is found in the named plugins, or in all that `serve` would load. Returns the exit code."""
    checked = _checked(settings, named)
    if as_json:
        say_json(checked)
    else:
        _print(checked)
    if checked.problems:
        return 2
    return 1 if strict and checked.warnings else 0


def _checked(settings: Settings, named: Sequence[str]) -> Checked:
    tables = PluginTables(settings.plugin_tables, display_path(settings.file))
    found = find_plugins(named or settings.plugins, settings.directory, tables, only_named=bool(named))
    hears: dict[str, list[str]] = {}
    functions: dict[str, Callable[..., Any]] = {}
    for connection in found.connections:
        name = name_of(connection.function)
        functions.setdefault(name, connection.function)
        hears.setdefault(name, []).append(_heard(connection))
    return Checked(
        plugins=[plugin.name for plugin in found.plugins],
        receivers=[
            CheckedReceiver(
                name=name,
                where=where(function, settings.directory),
                hears=hears[name],
                options=_options(function),
            )
            for name, function in functions.items()
        ],
        problems=found.problems,
        warnings=found.warnings,
    )


def _heard(connection: Connection) -> str:
    return connection.signal.name + ("" if connection.sender is ANY else f" {connection.sender}")


def _options(function: Callable[..., Any]) -> list[str]:
    options = options_of(function)
    differing = [
        name for name in options.__struct_fields__ if getattr(options, name) != getattr(DEFAULTS, name)
    ]
    return [
        f"limit={options.limit.most} per {options.limit.per}"
        if name == "limit" and options.limit is not None
        else f"{name}={getattr(options, name)}"
        for name in differing
    ]


def _print(checked: Checked) -> None:
    for receiver in checked.receivers:
        parts = [f"{receiver.where}: {receiver.name}", ", ".join(receiver.hears), ", ".join(receiver.options)]
        say("\t".join(printable(part) for part in parts if part))
    for problem in checked.problems:
        say(printable(problem), to_errors=True)
    for warning in checked.warnings:
        say(f"! {printable(warning)}", to_errors=True)
    say(
        f"plugins: {len(checked.plugins)}, receivers: {len(checked.receivers)},"
        f" problems: {len(checked.problems)}, warnings: {len(checked.warnings)}"
    )
