"""`hookchain uncertain` and `hookchain refused`: submissions that wait for a person's word."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import quote

import typer

from hookchain.cli.api import running_server

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(help="Id as `list` prints it.")]

uncertain = typer.Typer(help="Submissions that nobody knows the end of.", no_args_is_help=True)
refused = typer.Typer(help="Submissions that the budget did not allow.", no_args_is_help=True)


@uncertain.command("list")
def list_uncertain(as_json: AsJson = False) -> None:
    """List them, with why nobody knows."""
    _list("uncertain", as_json=as_json)


@uncertain.command("settle")
def settle(
    submission: Id,
    accepted: Annotated[
        bool,
        typer.Option(
            "--accepted/--not-accepted", help="Whether the upstream has it; if not, it is sent again."
        ),
    ],
    task: Annotated[str, typer.Option(help="The task that it made, if it is known.")] = "",
) -> None:
    """Say what became of one."""
    server = running_server()
    told = server.post(
        f"/api/uncertain/{quote(submission, safe='')}/settle", {"accepted": accepted, "task_id": task}
    )
    print(f"{submission}: {told['state']}")


@refused.command("list")
def list_refused(as_json: AsJson = False) -> None:
    """List them, with the limit that was in the way."""
    _list("refused", as_json=as_json)


@refused.command("release")
def release(submission: Id) -> None:
    """Send one all the same."""
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
        print(f"nothing is {what}")
