"""What clients order: reads the order, stores its ticket, waits for the upstream's first word, and answers.

From the commit of the ticket on nothing is lost, whatever becomes of this process, the upstream or the client's connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from dispatcher.by_hand import pressing
from dispatcher.by_hand.commands import CommandError
from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.tickets import ordering, targets
from dispatcher.tickets.answers import (
    ACCEPTED,
    NOT_FOUND,
    QUEUED,
    REFUSED,
    Envelope,
    Opens,
    accepted,
    refused,
    window,
)
from dispatcher.tickets.clients import Client
from dispatcher.tickets.desk import Declined, Desk, Placed
from dispatcher.tickets.hooks import BadHook, checked_hook
from dispatcher.tickets.orders import KIND_OF_PATH, Order, about, request_of, written_as
from hooks.gateway.receipts import Receipts
from hooks.gateway.verdicts import Verdicts
from midjourney.errors import InvalidRequest
from storage import clock
from storage.engine import Connection, Database
from storage.tickets import tickets


class Submits:
    """The handler of orders. `own_address` is the one at which clients reach this server, and `upstreams` are those of the accounts. `within_s` and `action_within_s`: how long an
    order, and a press, wait for the upstream's first word."""

    def __init__(
        self,
        database: Database,
        handles: Mapping[str, UpstreamHandle],
        *,
        own_address: str,
        upstreams: Sequence[str],
        within_s: float,
        action_within_s: float,
    ) -> None:
        self._database = database
        self._handles = handles
        self._own_address = own_address
        self._upstreams = upstreams
        self._within_s = within_s
        self._action_within_s = action_within_s
        self._verdicts = Verdicts(database)
        self.receipts = Receipts(database)

    async def stop(self) -> None:
        """Store the receipts of the answers that were written."""
        await self._verdicts.stop()
        await self.receipts.stop()

    def read(
        self, path: str, mode: str, fields: Mapping[str, object], *, digest: str, key: str, client: Client
    ) -> Order:
        """The order in a body. Raises `Declined`."""
        kind = KIND_OF_PATH[path]
        state = fields.get("state")
        if state is not None and (not isinstance(state, str) or "\0" in state):
            raise Declined(REFUSED, "state: write a text without NUL")
        try:
            hook = checked_hook(fields.get("notifyHook"), client, self._own_address, self._upstreams)
            request = request_of(kind, fields)
        except (InvalidRequest, BadHook) as error:
            raise Declined(REFUSED, str(error)) from error
        return Order(
            kind=kind,
            request=request,
            state=state or "",
            hook=hook,
            digest=digest,
            idempotency_key=key,
            mode=mode,
        )

    async def order(
        self, client: Client, order: Order, upstreams: Sequence[str]
    ) -> tuple[Placed | None, Envelope]:
        """Take an order, and return its ticket and the answer to it. Raises `storage` errors if the database is away."""
        await self.receipts.settled(client.name, order.digest)
        try:
            upstream = await self._upstream_of(client, order, upstreams)
            chosen = [upstream, *(name for name in upstreams if name != upstream)]
            desk = Desk(client, chosen, {name: handle.dialect for name, handle in self._handles.items()})
            placed = await pressing.stage_with_readback(
                self._database,
                self._handles[upstream],
                lambda connection: ordering.place(connection, order, desk, clock.now_ms()),
            )
        except Declined as declined:
            return None, refused(declined.code, str(declined))
        except CommandError as error:
            return None, refused(NOT_FOUND if error.status == 404 else REFUSED, _why(error, order))
        self._database.wakeups.wake("events", "submissions")
        return placed, await self._answer(client, order, placed)

    async def _upstream_of(self, client: Client, order: Order, upstreams: Sequence[str]) -> str:
        """Where an order goes: what is about a task, to the account that has the task; new work to the best account that offers it."""
        given = about(order.request)
        if not given:
            offering = [name for name in upstreams if self._handles[name].dialect.has(order.kind)]
            return (offering or upstreams)[0]
        target = await self._database.read(
            lambda connection: targets.find(connection, client.name, given, upstreams, clock.now_ms())
        )
        if target is None:
            raise Declined(NOT_FOUND, f"there is no task {given!r}")
        if target.upstream not in self._handles:
            raise Declined(REFUSED, targets.removed(given, target.upstream))
        return target.upstream

    async def _answer(self, client: Client, order: Order, placed: Placed) -> Envelope:
        ticket = placed.ticket
        if ticket.is_window:
            return window(ticket.id, placed.prompt or ticket.prompt)
        code = QUEUED if client.codes == "upstream" else ACCEPTED
        if order.kind == "modal":
            return accepted(ticket.id)
        within_s = self._action_within_s if order.kind == "action" else self._within_s
        told = await self._verdicts.wait(ticket, within_s, code_if_queued=code)
        if isinstance(told, Opens):
            await self._database.write("open_window", partial(_open_window, ticket.id))
            return told.envelope
        return told


def _open_window(ticket_id: str, connection: Connection) -> None:
    tickets.open_window(connection, ticket_id)


def _why(error: CommandError, order: Order) -> str:
    """What is wrong, with the names that the client uses."""
    cause = error.__cause__
    return (
        f"{written_as(cause.field, order.kind)}: {cause.problem}"
        if isinstance(cause, InvalidRequest)
        else str(error)
    )
