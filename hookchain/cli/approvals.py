"""`hookchain approvals`: what rules may not send before somebody decides."""

from __future__ import annotations

import getpass
from typing import Annotated, Literal
from urllib.parse import quote

import typer

from hookchain.cli.api import running_server
from hookchain.cli.approval_lines import approval_state
from hookchain.cli.dead_letters import fetch_all
from hookchain.cli.output import say, say_json
from hookchain.printable import printable_in
from hooks.api.approval_answers import ApprovalDecided, ApprovalDetail, ApprovalPage

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(help="Id as printed by `list`.")]

approvals = typer.Typer(
    help="List, release or drop submissions that wait for approval.", no_args_is_help=True
)


@approvals.command("list")
def list_approvals(
    state: Annotated[
        Literal["open", "released", "dropped", "all"], typer.Option(help="Only approvals in this state.")
    ] = "open",
    as_json: AsJson = False,
) -> None:
    """List approvals, newest first.

    By default, only those that nobody has decided.
    """
    query: dict[str, str] = {} if state == "all" else {"state": state}
    found = fetch_all("approvals", ApprovalPage, lambda page: page.approvals, query)
    if as_json:
        say_json(found)
        return
    for one in printable_in(found):
        say(f"{one.id}\t{one.expires_at}\t{one.asked_by}\t{one.wants}\t{one.prompt[:80]}")
    if not found:
        say("no open approvals" if state == "open" else "no such approvals")


@approvals.command("show")
def show(approval: Id, as_json: AsJson = False) -> None:
    """Show an approval, and what became of each of its submissions."""
    found = running_server().get(f"/api/approvals/{quote(approval, safe='')}", ApprovalDetail)
    if as_json:
        say_json(found)
        return
    found = printable_in(found)
    say(f"{found.id}: asked at {found.asked_at}, {approval_state(found)}")
    say(f"  {found.asked_by} wants to {found.wants}, task {found.task_id or 'none'}: {found.prompt[:200]}")
    for one in found.submissions:
        say(f"  {one.id}\t{one.kind} {one.label}\t{one.state}\t{one.reason}")


@approvals.command("release")
def release(approval: Id, as_json: AsJson = False) -> None:
    """Send everything that an approval holds."""
    _decide(approval, "release", as_json=as_json)


@approvals.command("drop")
def drop(approval: Id, as_json: AsJson = False) -> None:
    """Drop everything that an approval holds: it is never sent."""
    _decide(approval, "drop", as_json=as_json)


def _decide(approval: str, verb: str, *, as_json: bool) -> None:
    body = {"by": _user(), "source": "command line"}
    path = f"/api/approvals/{quote(approval, safe='')}/{verb}"
    decided = running_server().post(path, ApprovalDecided, body)
    if as_json:
        say_json(decided)
        return
    decided = printable_in(decided)
    say(f"{decided.id}: {decided.moved} {decided.state}")
    for why in decided.over_budget:
        say(f"  over budget: {why}")


def _user() -> str:
    """The name of the system's user; "" if the system has none for it, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
