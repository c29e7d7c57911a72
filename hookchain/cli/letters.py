"""`hookchain dead` and `hookchain quarantine`: what waits for a person."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from hookchain.cli.api import CallFailed, running_server

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Ids = Annotated[list[str], typer.Argument(help="Ids as `list` prints them.")]

dead = typer.Typer(help="Deliveries and submissions that ran out of attempts.", no_args_is_help=True)
quarantine = typer.Typer(help="Callbacks that could not be understood, whole.", no_args_is_help=True)


@dead.command("list")
def list_dead(as_json: AsJson = False) -> None:
    """List the dead letters."""
    letters = running_server().get("/api/dead-letters")["dead_letters"]
    if as_json:
        print(json.dumps(letters, ensure_ascii=False, indent=2))
        return
    for letter in letters:
        inner = letter[letter["kind"]]
        what = inner.get("receiver") or f"{inner['kind']} {inner['label']}"
        why = (inner.get("error") or inner.get("reason") or inner.get("decision") or "").strip().splitlines()
        print(f"{letter['id']}\t{letter['died_at']}\t{what}\t{why[-1] if why else ''}")
    if not letters:
        print("no dead letters")


@dead.command("retry")
def retry_dead(ids: Ids) -> None:
    """Try dead letters again, with all their attempts."""
    _each(ids, "dead-letters", "retry", "tried again")


@dead.command("drop")
def drop_dead(ids: Ids) -> None:
    """Give dead letters up for good."""
    _each(ids, "dead-letters", "drop", "dropped")


@quarantine.command("list")
def list_quarantine(as_json: AsJson = False) -> None:
    """List them, with why they were not understood."""
    found: list[dict[str, Any]] = running_server().get("/api/quarantine", limit=500)["quarantine"]
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    for one in found:
        print(
            f"{one['id']}\t{one['received_at']}\t{one['upstream']}\t{one['size_bytes']} bytes\t{one['reason']}"
        )
    if not found:
        print("nothing is in quarantine")


@quarantine.command("show")
def show_quarantined(id: Annotated[int, typer.Argument(help="Id as `list` prints it.")]) -> None:
    """Print one whole, without secrets."""
    print(json.dumps(running_server().get(f"/api/quarantine/{id}"), ensure_ascii=False, indent=2))


@quarantine.command("retry")
def retry_quarantined(ids: Ids) -> None:
    """Read them again: a newer release may understand more."""
    _each(ids, "quarantine", "retry", "came in")


@quarantine.command("drop")
def drop_quarantined(ids: Ids) -> None:
    """Forget them."""
    _each(ids, "quarantine", "drop", "dropped")


def _each(ids: list[str], where: str, what: str, done: str) -> None:
    """One after the other; those that cannot be are told at the end, and the exit code is 1."""
    server, failed = running_server(), []
    for one in ids:
        try:
            server.post(f"/api/{where}/{one}/{what}")
            print(f"{one}: {done}")
        except CallFailed as error:
            failed.append(f"{one}: {error}")
    if failed:
        raise CallFailed("; ".join(failed))
