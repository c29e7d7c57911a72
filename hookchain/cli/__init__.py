"""The command line. Exit codes: 0 done; 1 it failed; 2 the call or the configuration is wrong."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Annotated

import typer

from dispatcher.errors import PluginError, RuleError
from hookchain.cli.api import CallFailed
from hookchain.cli.health import version
from hookchain.conversion import SettingsError
from storage.errors import BadDatabaseUrl, StorageError

MODULES: Mapping[str, str] = {
    "serve": "serve",
    "work": "serve",
    "sandbox": "sandbox",
    "imagine": "submit",
    "press": "submit",
    "modal": "submit",
    "submit": "submit",
    "chain": "submit",
    "doctor": "doctor",
    "url": "operate",
    "tasks": "look",
    "events": "look",
    "explain": "decisions",
    "replay": "decisions",
    "costs": "decisions",
    "plugins": "decisions",
    "upstreams": "upstreams",
    "pause": "operate",
    "resume": "operate",
    "migrate": "operate",
    "healthcheck": "health",
    "version": "health",
    "rules": "rules",
    "new": "new",
    "dead": "letters",
    "quarantine": "quarantine",
    "uncertain": "by_hand",
    "refused": "by_hand",
}
"""Each command, in the order of --help, and which module here has it: a function, or a group of its own."""

_ALONE = {"--version": "version"}
"""Options that ask for what one command does."""


def command_line(name: str) -> typer.Typer:
    """The command line with this command alone, or with all, for --help and for a name that is misspelt. What is not
    called is not loaded: a container runs `healthcheck` every few seconds, and it needs no server."""
    app = typer.Typer(
        name="hookchain",
        help="Receive midjourney-proxy callbacks, keep them all, and submit the next request of each chain.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    name = _ALONE.get(name, name)
    for one in [name] if name in MODULES else MODULES:
        found = getattr(import_module(f"hookchain.cli.{MODULES[one]}"), one)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=one)
        else:
            app.command(one)(found)
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
    """What stands before a command."""


def main() -> None:
    """Run a command; a mistake of the caller's is one line, never a traceback."""
    try:
        command_line(next(iter(sys.argv[1:]), ""))(prog_name="hookchain")
    except (SettingsError, PluginError, RuleError, BadDatabaseUrl) as error:
        _fail(str(error), 2)
    except (CallFailed, StorageError) as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:  # before anything was there that could be stopped
        _fail("stopped", 130)


def _fail(message: str, code: int) -> None:
    print(f"hookchain: {message}", file=sys.stderr)
    sys.exit(code)
