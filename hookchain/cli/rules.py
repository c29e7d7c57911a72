"""`hookchain rules`: check, list and try rules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from hookchain.cli.api import running_server
from hookchain.cli.decisions import since_ms
from hookchain.cli.output import say, say_json
from hookchain.cli.rules_counts import counts_text, never_fired, parts_of
from hookchain.cli.table import say_rows
from hookchain.printable import printable, printable_in
from hookchain.settings.load import DEFAULT_FILE, load_settings
from hooks.api.reports import Receiver, Rule, Rules

rules = typer.Typer(help="Check, try and list rules.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(help="TOML file with [[rules]].")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@rules.command("check")
def check(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE", help="Files; hookchain.toml if omitted.")
    ] = None,
    as_json: AsJson = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if there are warnings.")] = False,
) -> None:
    """Check whole files as `serve` would read them. Reports everything that is wrong or doubtful, where, and what to write.

    Exit codes: 0 no mistakes; 1 warnings, with --strict; 2 mistakes, or a file does not exist.
    """
    # Imported here because it is slow to load, and `list` does not need it.
    from hookchain.cli.rules_check import check_files

    given = [_existing(file) for file in files or [Path(DEFAULT_FILE)]]
    raise typer.Exit(check_files(given, as_json=as_json, strict=strict))


@rules.command("list")
def list_rules(as_json: AsJson = False) -> None:
    """List the active rules, and how often each one fired.

    Effects such as archive and notify are counted separately. The last line names the rules that never fired."""
    report = running_server().get("/api/rules", Rules)
    if as_json:
        say_json(report)
        return
    mistakes = report.error.splitlines()
    report = printable_in(report)
    receivers = {receiver.name: receiver for receiver in report.receivers}
    rows = [[rule.name, rule.where, _hears(rule), _counts(rule, receivers)] for rule in report.rules]
    say_rows(rows)
    for rule in report.rules:
        if rule.description:
            say(f"{rule.name}: {rule.description}")
        for warning in rule.warnings:
            say(f"! {rule.name}, key {warning.key!r}: {warning.problem}. {warning.remedy}")
    if never := never_fired(report):
        say(f"never fired in the deliveries that are still stored: {', '.join(never)}")
    for mistake in mistakes:
        say(f"the file has changed but is not in use: {printable(mistake)}")
    if report.after_restart:
        say(f"changed, in use after a restart: {'; '.join(report.after_restart)}")


def _hears(rule: Rule) -> str:
    if not rule.every:
        return f"on {rule.on}"
    next_at = rule.next_at or ""
    return f"every {rule.every}{f', next {next_at[:16]}Z' if next_at else ''}"


def _counts(rule: Rule, receivers: Mapping[str, Receiver]) -> str:
    counts = counts_text(parts_of(rule.name, receivers))
    return counts if rule.enabled else f"{counts}, switched off"


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
    if file.is_dir():
        raise typer.BadParameter(f"{file} is a folder; name a file in it, such as {file / DEFAULT_FILE}")
    if not file.is_file():
        raise typer.BadParameter(f"{file} does not exist")
    return file
