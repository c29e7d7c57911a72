"""`hookchain uncertain` and `hookchain refused`: submissions that need a person's decision."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from hookchain.cli.api import running_server
from hookchain.cli.output import say, say_json
from hookchain.cli.table import say_rows
from hookchain.printable import printable_in
from hooks.api.answers import Refused, Submission, Uncertain

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(help="Id as printed by `list`.")]

uncertain = typer.Typer(help="List and settle submissions with an unknown outcome.", no_args_is_help=True)
refused = typer.Typer(help="List and release submissions that a budget refused.", no_args_is_help=True)


@uncertain.command("list")
def list_uncertain(as_json: AsJson = False) -> None:
    """List submissions with an unknown outcome, and the reason."""
    _list("uncertain", running_server().get("/api/uncertain", Uncertain).uncertain, as_json=as_json)


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
    settled = server.post(
        f"/api/uncertain/{quote(submission, safe='')}/settle",
        Submission,
        {"accepted": accepted, "task_id": task},
    )
    say(f"{submission}: {settled.state}")


@refused.command("list")
def list_refused(as_json: AsJson = False) -> None:
    """List refused submissions, and the limit that each one exceeded."""
    _list("refused", running_server().get("/api/refused", Refused).refused, as_json=as_json)


@refused.command("release")
def release(submission: Id) -> None:
    """Send a refused submission anyway."""
    released = running_server().post(f"/api/refused/{quote(submission, safe='')}/release", Submission)
    say(f"{submission}: {released.state}")


def _list(state: str, submissions: list[Submission], *, as_json: bool) -> None:
    if as_json:
        say_json(submissions)
        return
    submissions = printable_in(submissions)
    say_rows(
        [[one.id, one.created_at, one.upstream, f"{one.kind} {one.label}", one.reason] for one in submissions]
    )
    if not submissions:
        say(f"no {state} submissions")
