"""The command line. Exit codes: 0 success; 1 failure; 2 invalid arguments or configuration; 130 stopped by Ctrl+C; 141 the
program that read the output ended first."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Annotated

import typer

from dispatcher.plugins.errors import PluginError, RuleError
from hookchain.cli.api import CallFailed
from hookchain.cli.health import version
from hookchain.cli.output import say
from hookchain.cli.pipes import OutputFailed, discard_the_rest, ends_with_its_reader
from hookchain.printable import printable
from hookchain.settings.conversion import SettingsError
from storage.errors import BadDatabaseUrl, StorageError

MODULES: Mapping[str, str] = {
    "serve": "serve",
    "work": "serve",
    "sandbox": "sandbox",
    "imagine": "imagine",
    "press": "submit",
    "modal": "submit",
    "submit": "submit",
    "chain": "submit",
    "doctor": "doctor",
    "url": "hooks",
    "tasks": "listing",
    "events": "listing",
    "tickets": "tickets",
    "clients": "tickets",
    "explain": "decisions",
    "replay": "decisions",
    "costs": "decisions",
    "budgets": "decisions",
    "plugins": "plugins",
    "token": "token",
    "keys": "keys",
    "upstreams": "upstreams",
    "pause": "operate",
    "resume": "operate",
    "migrate": "operate",
    "backup": "backup",
    "healthcheck": "health",
    "version": "health",
    "rules": "rules",
    "schema": "schema",
    "new": "new",
    "dead": "dead_letters",
    "quarantine": "quarantine",
    "waiting": "waiting",
    "approvals": "approvals",
    "uncertain": "by_hand",
    "refused": "by_hand",
}
"""Each command, in the order of --help, and the module in this package that defines it as a function or a command group."""

_ALIASES = {"--version": "version"}
"""Options that do the same as a command."""


def command_line(name: str) -> typer.Typer:
    """The command line with only the named command, or with all commands if the name is unknown or an option.

    The modules of other commands are not loaded: containers run `healthcheck` every few seconds, and it does not need
    the server's code.
    """
    app = typer.Typer(
        name="hookchain",
        help="Receive midjourney-proxy callbacks, keep them all, and submit the next request of each chain.",
        no_args_is_help=True,
        # Only with all commands: a shell that completes names none, and containers run `healthcheck` often.
        add_completion=_ALIASES.get(name, name) not in MODULES,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    name = _ALIASES.get(name, name)
    for command_name in [name] if name in MODULES else MODULES:
        command = getattr(import_module(f"hookchain.cli.{MODULES[command_name]}"), command_name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=command_name)
        else:
            app.command(command_name)(command)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


def _options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Options that come before a command."""


def main() -> None:
    """Run a command. Errors of the caller are printed, one line for each mistake, never as a traceback."""
    try:
        with ends_with_its_reader():
            command_line(next(iter(sys.argv[1:]), ""))(prog_name="hookchain")
    except (SettingsError, RuleError) as error:
        _fail(*error.messages, code=2)
    except OutputFailed as error:
        discard_the_rest()
        _fail(f"standard output cannot be written: {error.strerror}", code=1)
    except PluginError as error:
        _fail(*error.problems, code=2)
    except BadDatabaseUrl as error:
        _fail(str(error), code=2)
    except (CallFailed, StorageError) as error:
        _fail(str(error), code=1)
    except KeyboardInterrupt:
        # Once a server runs, it handles the signal itself; this is for the time before.
        _fail("stopped", code=130)


def _fail(*messages: str, code: int) -> None:
    for message in messages:
        say(f"hookchain: {printable(message)}", to_errors=True)
    sys.exit(code)
