"""`hookchain rules`: check, list and try rules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hookchain.cli.api import running_server
from hookchain.cli.decisions import since_ms
from hookchain.cli.output import say, say_json
from hookchain.printable import printable_in
from hookchain.settings.load import load_settings
from hooks.api.reports import Receiver, Rules

rules = typer.Typer(help="Check, try and list rules.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(help="TOML file with [[rules]].")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@rules.command("check")
def check(file: File = Path("hookchain.toml")) -> None:
    """Check the rules of a file. Reports what is wrong, where, and what to write instead."""
    # Imported here because they are slow to load, and `list` does not need them.
    from dispatcher.rules.checks import action_keys
    from hookchain.rules import read_rules

    settings = load_settings()
    compiled = read_rules(_existing(file), settings.upstreams, settings.image_folders)
    for rule in compiled:
        say(f"{rule.where}: {rule.rule.name}: on {rule.rule.on}, {', '.join(action_keys(rule.rule))}")
    say(f"{len(compiled)} rules, all valid")
    for warning in settings.price_warnings:
        say(f"! {warning}")


@rules.command("list")
def list_rules(as_json: AsJson = False) -> None:
    """List the active rules, and how often each one fired."""
    report = running_server().get("/api/rules", Rules)
    if as_json:
        say_json(report)
        return
    report = printable_in(report)
    receivers = {receiver.name: receiver for receiver in report.receivers}
    for rule in report.rules:
        counts = receivers.get(f"rule:{rule.name}") or Receiver(name=rule.name, loaded=True, signals=[])
        say(
            f"{rule.name}\t{rule.where}\ton {rule.on}\tfired {counts.fired} of {counts.done} times, {counts.dead} dead"
        )
    if report.error:
        say(f"the file has changed but is not in use: {report.error}")
    if report.after_restart:
        say(f"changed, in use after a restart: {'; '.join(report.after_restart)}")


@rules.command("try")
def try_rules(
    file: File,
    since: Annotated[str, typer.Option(help="How far back to look, such as 12h, 7d or 4w.")] = "7d",
    as_json: AsJson = False,
) -> None:
    """Show what rules would have submitted. Runs them over recorded events and sends nothing."""
    # Imported here because it is slow to load: it needs the storage package.
    from hookchain.cli.rules_try import what_if

    say(what_if(_existing(file), load_settings(), since_ms(since), as_json=as_json))


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise typer.BadParameter(f"{file} does not exist")
    return file
