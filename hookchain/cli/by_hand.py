"""`hookchain uncertain` and `hookchain refused`: submissions that need a person's decision."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import quote

import typer

from hookchain.cli.api import running_server

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(help="Id as printed by `list`.")]

uncertain = typer.Typer(help="List and settle submissions with an unknown outcome.", no_args_is_help=True)
refused = typer.Typer(help="List and release submissions that the budget refused.", no_args_is_help=True)


@uncertain.command("list")
def list_uncertain(as_json: AsJson = False) -> None:
    """List submissions with an unknown outcome, and the reason."""
    _list("uncertain", as_json=as_json)


@uncertain.command("settle")
def settle(
    submission: Id,
    accepted: Annotated[
        bool,
        typer.Option(
            "--accepted/--not-accepted", help="Whether the upstream accepted it. If not, it is sent again."
        ),
    ],
    task: Annotated[str, typer.Option(help="Id of the task it created, if known.")] = "",
) -> None:
    """Record the outcome of a submission."""
    server = running_server()
    told = server.post(
        f"/api/uncertain/{quote(submission, safe='')}/settle", {"accepted": accepted, "task_id": task}
    )
    print(f"{submission}: {told['state']}")


@refused.command("list")
def list_refused(as_json: AsJson = False) -> None:
    """List refused submissions, and the limit that each one exceeded."""
    _list("refused", as_json=as_json)


@refused.command("release")
def release(submission: Id) -> None:
    """Send a refused submission anyway."""
    told = running_server().post(f"/api/refused/{quote(submission, safe='')}/release")
    print(f"{submission}: {told['state']}")


def _list(what: str, *, as_json: bool) -> None:
    found: list[dict[str, Any]] = running_server().get(f"/api/{what}")[what]
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    for one in found:
        print(
            f"{one['id']}\t{one['created_at']}\t{one['upstream']}\t{one['kind']} {one['label']}\t{one['reason']}"
        )
    if not found:
        print(f"no submission is {what}")
