"""`hookchain tickets` and `clients`: what clients of the gateway ordered, and what each of them uses."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from hookchain.cli.api import running_server
from hookchain.cli.output import say, say_json
from hookchain.cli.table import say_rows
from hookchain.cli.ticket_lines import client_lines, client_row, story_lines, ticket_row
from hookchain.printable import printable_in
from hooks.api.gateway_answers import Client, Clients, Ticket, TicketDetail, TicketPage

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def tickets(
    ticket: Annotated[
        str, typer.Argument(metavar="[ID]", help="Show one ticket, and everything that was done for it.")
    ] = "",
    client: Annotated[str, typer.Option(help="Only tickets of this client.")] = "",
    state: Annotated[
        str,
        typer.Option(
            help="Only tickets in this state: open, window (waits for the client's answer), ended or failed."
        ),
    ] = "",
    upstream: Annotated[str, typer.Option(help="Only tickets that this upstream works on.")] = "",
    hook: Annotated[
        str,
        typer.Option(
            help="Only tickets whose hook is in this state: none, waiting (messages are still to be sent), told (the end was delivered) or dead (a message could not be delivered)."
        ),
    ] = "",
    limit: Annotated[int, typer.Option(help="Maximum number to list.", min=1, max=500)] = 20,
    as_json: AsJson = False,
) -> None:
    """List orders of the gateway's clients, or show one.

    The list is newest first. `hookchain explain ID` also shows the events of its task."""
    if ticket:
        found = running_server().get(f"/api/tickets/{quote(ticket, safe='')}", TicketDetail)
        if as_json:
            say_json(found)
        else:
            say("\n".join(story_lines(printable_in(found))))
        return
    query = {"client": client, "state": state, "upstream": upstream, "hook": hook}
    listed = _listed({name: value for name, value in query.items() if value}, limit)
    if as_json:
        say_json(listed)
        return
    listed = printable_in(listed)
    say_rows([ticket_row(one) for one in listed], cuts_last=True)
    if not listed:
        say("no tickets")


def _listed(filters: dict[str, str], limit: int) -> list[Ticket]:
    """The newest tickets. A page may have fewer than the limit without being the last one."""
    server = running_server()
    listed: list[Ticket] = []
    cursor: str | None = ""
    while cursor is not None and len(listed) < limit:
        more = {"cursor": cursor} if cursor else {}
        page = server.get("/api/tickets", TicketPage, limit=limit - len(listed), **filters, **more)
        listed += page.tickets
        cursor = page.cursor
    return listed


def clients(
    client: Annotated[str, typer.Argument(metavar="[NAME]", help="Show everything about one client.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the gateway's clients, or show one.

    For each: how much of its limits is used, its last order, and its hooks. With NAME also its keys and accounts."""
    server = running_server()
    if client:
        found = server.get(f"/api/clients/{quote(client, safe='')}", Client)
        if as_json:
            say_json(found)
        else:
            say("\n".join(client_lines(printable_in(found))))
        return
    known = server.get("/api/clients", Clients)
    if as_json:
        say_json(known)
        return
    known = printable_in(known)
    say_rows([client_row(one) for one in known.clients])
    if not known.is_on:
        say(
            "the gateway is off: add a client (`hookchain keys add NAME`) and restart the server, unless HOOKCHAIN_GATEWAY=off"
        )
    elif not known.clients:
        say("no clients; `hookchain keys add NAME` adds one")
