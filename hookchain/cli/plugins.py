"""`hookchain plugins`: list the plugins of the running server, and check plugins before a start."""

from __future__ import annotations

from typing import Annotated

import typer

from hookchain.cli.api import running_server
from hookchain.cli.output import say, say_json
from hookchain.cli.table import say_rows
from hookchain.printable import printable_in
from hookchain.settings.load import load_settings
from hooks.api.reports import Plugins

plugins = typer.Typer(help="List plugins and receivers, and check plugins.")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@plugins.callback(invoke_without_command=True)
def list_plugins(context: typer.Context, as_json: AsJson = False) -> None:
    """List plugins and receivers. Shows the signals and deliveries of each receiver; `check` checks plugins before a start."""
    if context.invoked_subcommand is not None:
        return
    report = running_server().get("/api/plugins", Plugins)
    if as_json:
        say_json(report)
        return
    report = printable_in(report)
    say_rows([[plugin.name, plugin.origin] for plugin in report.plugins])
    say_rows(
        [
            [
                receiver.name,
                ", ".join(receiver.signals) if receiver.loaded else "no longer loaded",
                f"{receiver.done} done, {receiver.fired} fired, {receiver.waiting} waiting, {receiver.failing} failing, "
                f"{receiver.dead} dead",
            ]
            for receiver in report.receivers
        ]
    )
    for warning in report.warnings:
        say(f"! {warning}")


@plugins.command("check")
def check(
    named: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE|MODULE", help="Plugins; those that `serve` would load if omitted."),
    ] = None,
    as_json: AsJson = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if there are warnings.")] = False,
) -> None:
    """Load plugins as `serve` would, without a server. Lists their receivers, and reports everything that is wrong or doubtful.

    Exit codes: 0 no problems; 1 warnings, with --strict; 2 problems.
    """
    # Imported here because it is slow to load, and the list does not need it.
    from hookchain.cli.plugins_check import check_plugins

    raise typer.Exit(check_plugins(load_settings(), named or [], as_json=as_json, strict=strict))
