"""The command line. Exit codes: 0 done; 1 it failed; 2 the call or the configuration is wrong."""

from __future__ import annotations

import sys

import typer

from dispatcher.errors import PluginError, RuleError
from hookchain.cli import (
    by_hand,
    decisions,
    doctor,
    letters,
    look,
    new,
    operate,
    quarantine,
    rules,
    serve,
    submit,
    upstreams,
)
from hookchain.cli.api import CallFailed
from hookchain.settings import SettingsError
from storage.errors import BadDatabaseUrl, StorageError

app = typer.Typer(
    name="hookchain",
    help="Receives midjourney-proxy callbacks, keeps them all, and chains the next submission.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(serve.serve)
app.command()(serve.work)
app.command()(serve.sandbox)
app.command()(submit.imagine)
app.command()(submit.press)
app.command()(submit.modal)
app.command()(submit.submit)
app.command()(submit.chain)
app.command()(doctor.doctor)
app.command()(operate.url)
app.command()(look.tasks)
app.command()(look.events)
app.command()(decisions.explain)
app.command()(decisions.replay)
app.command()(decisions.costs)
app.command()(decisions.plugins)
app.command()(upstreams.upstreams)
app.command()(operate.pause)
app.command()(operate.resume)
app.command()(operate.migrate)
app.command()(operate.healthcheck)
app.command()(operate.version)
app.add_typer(rules.rules, name="rules")
app.add_typer(new.new, name="new")
app.add_typer(letters.dead, name="dead")
app.add_typer(quarantine.quarantine, name="quarantine")
app.add_typer(by_hand.uncertain, name="uncertain")
app.add_typer(by_hand.refused, name="refused")


def main() -> None:
    """Run a command; a mistake of the caller's is one line, never a traceback."""
    try:
        app()
    except (SettingsError, PluginError, RuleError, BadDatabaseUrl) as error:
        _fail(str(error), 2)
    except (CallFailed, StorageError) as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:  # before anything was there that could be stopped
        _fail("stopped", 130)


def _fail(message: str, code: int) -> None:
    print(f"hookchain: {message}", file=sys.stderr)
    sys.exit(code)
