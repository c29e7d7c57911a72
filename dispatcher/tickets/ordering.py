"""Takes an order: its ticket and its submission are staged in one transaction, once, however often the client sends it.

What counts as a repetition is in the notes on retries (docs/gateway.md): the same Idempotency-Key; the same body before the first
answer was written; the same upscale; a second answer to a window.
"""

from __future__ import annotations

from dispatcher.tickets import window_orders
from dispatcher.tickets.answers import REFUSED
from dispatcher.tickets.clients import Client
from dispatcher.tickets.desk import Declined, Desk, Placed, submit, target_of
from dispatcher.tickets.orders import Order, about, renamed
from dispatcher.tickets.presses import press
from midjourney.requests import Action, Change, Modal, SimpleChange
from storage.engine import Connection
from storage.records import Ticket
from storage.tickets import tickets


def place(connection: Connection, order: Order, desk: Desk, now_ms: int) -> Placed:
    """Take an order. Raises `Declined`, `commands.CommandError`, and `NotOffered` if the upstream may know more than the database."""
    tickets.one_at_a_time(connection, desk.client.name)
    if (repeated := _repeated(connection, order, desk.client, now_ms)) is not None:
        return Placed(repeated, is_new=False)
    request = order.request
    if isinstance(request, Modal):
        return window_orders.answer(connection, order, request, desk, now_ms)
    if isinstance(request, Action | Change | SimpleChange):
        return press(connection, order, desk, now_ms)
    if given := about(request):
        target = target_of(connection, given, desk, now_ms)
        return submit(connection, order, renamed(request, target.task_id), target.upstream, desk, now_ms)
    return submit(connection, order, request, desk.upstreams[0], desk, now_ms)


def _repeated(connection: Connection, order: Order, client: Client, now_ms: int) -> Ticket | None:
    if order.idempotency_key:
        first = tickets.of_key(connection, client.name, order.idempotency_key)
        if first is not None and first.digest != order.digest:
            raise Declined(
                REFUSED, f"Idempotency-Key was already used for a different body: ticket {first.id}"
            )
        return first
    return tickets.unanswered(connection, client.name, order.digest, now_ms)
