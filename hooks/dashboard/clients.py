"""The pages of the gateway's clients: all of them, and one with its tickets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import get_args
from urllib.parse import quote, urlencode

import msgspec
from msgspec.structs import asdict
from starlette.requests import Request
from starlette.responses import Response

from hooks.api.gateway_answers import Client
from hooks.api.gateway_clients import clients_now
from hooks.dashboard.context import PageContext
from hooks.dashboard.render import answer, is_partial, render
from hooks.dashboard.ticket_lines import TicketLine, marks_of, ticket_lines
from hooks.numbers import number
from hooks.problems import Problem
from hooks.topics import Changes, Marks, Piece
from storage import clock
from storage.engine import Connection
from storage.reading import ticket_pages
from storage.reading.keyset import Page
from storage.reading.ticket_pages import HookState, TicketCursor, TicketFilter, TicketState
from storage.records import Ticket

PAGE = 50
LIVE_TICKETS = PAGE
"""The newest tickets of a client's page, which are updated live. Older ones stay as they were when they were loaded."""

OFF = "The gateway is off: no client, pool or key is configured"


ReadClients = Callable[[Connection, str], list[Client]]
"""Reads the client with a name, or all of them for ""."""


class AllClients(msgspec.Struct, frozen=True, kw_only=True):
    """What the page of all clients shows. `open`: their tickets that have not ended, but for `windows`, which wait for the client. Messages to hooks that are tried again, and dead
    letters, are counted once for each host."""

    clients: list[Client]
    open: int
    windows: int
    failing: int
    dead: int


class Clients:
    """Handlers of the pages."""

    def __init__(self, context: PageContext) -> None:
        self._context = context

    async def show(self, request: Request) -> Response:
        """Show all clients."""
        at_ms, read = clock.now_ms(), self._read()
        found = await self._context.database.read(lambda connection: all_clients(read(connection, "")))
        return answer(
            request,
            "clients.html",
            **self._context.frame_values("clients"),
            **asdict(found),
            since_ms=at_ms,
        )

    def topic(self, _request: Request) -> AllClientsTopic:
        """Return the topic of the page of all clients."""
        return AllClientsTopic(self._read())

    async def show_one(self, request: Request) -> Response:
        """Show a client and its newest tickets or, with `before`, the next ones. `state` and `hook` filter them."""
        clients, wanted, before = self._read(), _wanted(request), _before(request)
        at_ms = clock.now_ms()

        def read(connection: Connection) -> tuple[list[Client], list[TicketLine], TicketCursor | None]:
            if not (found := clients(connection, wanted.client)):
                return [], [], None
            page = ticket_pages.ticket_page(connection, most=PAGE, before=before, wanted=wanted)
            after = None if page.next is None else _place(page.next)
            return found, ticket_lines(connection, page, at_ms), after

        found, lines, after = await self._context.database.read(read)
        if not found:
            raise Problem(404, f"There is no client {wanted.client!r}")
        values = {"tickets": lines, "more": _more(wanted, after) if after is not None else ""}
        if before is not None and is_partial(request):
            return answer(request, "_tickets.html", **values)
        return answer(
            request,
            "client.html",
            **self._context.frame_values("clients"),
            **values,
            client=found[0],
            chosen=_query(wanted),
            live=_address("/live/clients", wanted, since_ms=str(at_ms)),
        )

    def topic_of_one(self, request: Request) -> ClientTopic:
        """Return the topic of a client's page with these filters."""
        return ClientTopic(self._read(), _wanted(request))

    def _read(self) -> ReadClients:
        """Raises `Problem` 404 if the gateway is off."""
        gateway, plan = self._context.gateway, self._context.database.plan
        if not gateway.is_on:
            raise Problem(404, OFF)
        return lambda connection, name: clients_now(connection, gateway, plan, name)


def all_clients(clients: list[Client]) -> AllClients:
    """Return what the page of all clients shows."""
    hosts = {hook.host: hook for client in clients for hook in client.hooks}.values()
    return AllClients(
        clients=clients,
        open=sum(client.open for client in clients),
        windows=sum(client.windows for client in clients),
        failing=sum(hook.failing for hook in hosts),
        dead=sum(hook.dead for hook in hosts),
    )


class AllClientsTopic:
    """The page of all clients, which is updated as one piece."""

    key = "clients"

    def __init__(self, read: ReadClients) -> None:
        self._read = read

    def changes(self, connection: Connection, known: Marks) -> Changes:
        """Return the page, if it has changed."""
        found = all_clients(self._read(connection, ""))
        marks = {"clients": msgspec.json.encode(found)}
        values = asdict(found)
        piece = Piece(
            render=lambda language: render("_changed_clients.html", language, **values),
            changed_at_ms=clock.now_ms(),
        )
        return Changes(marks=marks, changed=[] if known == marks else [piece])


class ClientTopic:
    """A client's page: what it uses, and its newest tickets."""

    def __init__(self, read: ReadClients, wanted: TicketFilter) -> None:
        self.key = f"client {wanted}"
        self._read = read
        self._wanted = wanted

    def changes(self, connection: Connection, known: Marks) -> Changes:
        """Read only changed tickets completely. One that a page lacks is inserted after the one that precedes it."""
        now_ms = clock.now_ms()
        if not (clients := self._read(connection, self._wanted.client)):
            return Changes(marks={}, changed=[])
        page = ticket_pages.ticket_page(connection, most=LIVE_TICKETS, wanted=self._wanted)
        marks = marks_of(connection, page, now_ms)
        fresh = [ticket for ticket in page if known.get(ticket.id) != marks[ticket.id]]
        lines = ticket_lines(connection, fresh, now_ms)
        before = {ticket.id: earlier.id for earlier, ticket in itertools.pairwise(page)}
        rows = [_row(line, before.get(line.id, "")) for line in lines]
        oldest = page[-1].id if len(page) == LIVE_TICKETS else ""
        gone = [_gone(key) for key in known if key not in marks and key != CLIENT and key > oldest]
        marks |= {CLIENT: msgspec.json.encode(clients)}
        use = [_use(client) for client in clients if known.get(CLIENT) != marks[CLIENT]]
        return Changes(
            marks=marks,
            changed=[*gone, *rows, *use],
            missed=partial(self._missed, page, lines, rows, use),
        )

    def _missed(
        self, page: Page[Ticket], lines: list[TicketLine], rows: list[Piece], use: list[Piece], since_ms: int
    ) -> list[Piece]:
        """Return the tickets that have changed since then, and those with a hook, because nothing says when it was told. Return the whole
        list if tickets may have left it, or if more than the live ones are new."""
        has_gap = len(page) == LIVE_TICKETS and page[-1].created_at_ms > since_ms
        if not _query(self._wanted) and not has_gap:
            changed = [
                row
                for line, row in zip(lines, rows, strict=True)
                if line.changed_at_ms > since_ms or line.hook != "none"
            ]
            return [*changed, *use]
        more = _more(self._wanted, _place(page.next)) if page.next is not None else ""
        values: dict[str, object] = {"tickets": lines, "more": more}
        whole = Piece(
            render=lambda language: render("_changed_tickets.html", language, **values), changed_at_ms=0
        )
        return [whole, *use]


CLIENT = "client"
"""The mark of a client's use, beside those of its tickets, which are digits."""


def _row(line: TicketLine, after: str) -> Piece:
    return Piece(
        render=lambda language: render("_changed_ticket_row.html", language, ticket=line, after=after),
        changed_at_ms=clock.now_ms(),
    )


def _gone(ticket_id: str) -> Piece:
    return Piece(render=lambda language: render("_gone_ticket.html", language, id=ticket_id), changed_at_ms=0)


def _use(client: Client) -> Piece:
    return Piece(
        render=lambda language: render("_changed_client.html", language, client=client),
        changed_at_ms=clock.now_ms(),
    )


def _wanted(request: Request) -> TicketFilter:
    """Return the filter of the request's path and query. Raises `Problem` 422."""
    state, hook = request.query_params.get("state", ""), request.query_params.get("hook", "")
    for name, given, known in (("state", state, TicketState), ("hook", hook, HookState)):
        if given and given not in get_args(known):
            raise Problem(422, f"{name} must be one of {', '.join(get_args(known))}")
    return TicketFilter(client=request.path_params["name"], state=state, hook=hook)  # type: ignore[arg-type]  # of those, see above


def _before(request: Request) -> TicketCursor | None:
    """Return where the previous page ended. Raises `Problem` 422."""
    text = request.query_params.get("before", "")
    if not text:
        return None
    age, separator, key = text.partition("-")
    at_ms = number(age)
    if not separator or at_ms is None or "\0" in key:
        raise Problem(422, "before must be a value that an earlier page returned")
    return at_ms, key


def _place(following: list[int | str]) -> TicketCursor:
    age, key = following
    return int(age), str(key)


def _query(wanted: TicketFilter) -> dict[str, str]:
    given: Mapping[str, str] = {"state": wanted.state, "hook": wanted.hook}
    return {name: value for name, value in given.items() if value}


def _more(wanted: TicketFilter, after: TicketCursor) -> str:
    return _address("/clients", wanted, before=f"{after[0]}-{after[1]}")


def _address(path: str, wanted: TicketFilter, **more: str) -> str:
    return f"{path}/{quote(wanted.client, safe='')}?{urlencode(_query(wanted) | more)}"
