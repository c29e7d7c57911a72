"""Whose messages the gateway's deliveries carry: the clients and tickets behind a receiver such as "hook:bot.example.com"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from dispatcher.tickets.listening import CONFIRM, PICTURES
from storage.engine import Connection
from storage.reading import pages
from storage.records import Delivery, Event, Ticket
from storage.tickets import tickets
from storage.tickets.audience import HOOK, WINDOW, concerned_by, host_of


class Addressee(msgspec.Struct, frozen=True, kw_only=True):
    """The clients that a delivery serves, and the ids of their tickets; none once the tickets have been removed."""

    clients: tuple[str, ...] = ()
    tickets: tuple[str, ...] = ()


NOBODY = Addressee()


def addressees(
    connection: Connection, deliveries: Iterable[tuple[Delivery, Event | None]]
) -> dict[int, Addressee]:
    """The addressee of each delivery of the gateway among these, by the delivery's id. Rules and plugins have none."""
    ours = [(delivery, event) for delivery, event in deliveries if is_of_gateway(delivery.receiver)]
    events = {event.id: event for _, event in ours if event is not None}
    about = concerned_by(connection, events.values()) if events else {}
    return {
        delivery.id: _addressee(_served(connection, delivery, about.get(delivery.event_id, ())))
        for delivery, _ in ours
    }


def with_events(
    connection: Connection, deliveries: Sequence[Delivery]
) -> list[tuple[Delivery, Event | None]]:
    """Deliveries with their events, as `addressees` needs them; the events of rules and plugins are not read."""
    return [
        (
            delivery,
            pages.find_event(connection, delivery.event_id) if is_of_gateway(delivery.receiver) else None,
        )
        for delivery in deliveries
    ]


def is_of_gateway(receiver: str) -> bool:
    """True for the gateway's own receivers, which serve its clients."""
    return receiver.startswith((HOOK, WINDOW)) or receiver in (CONFIRM, PICTURES)


def _served(connection: Connection, delivery: Delivery, about: Sequence[Ticket]) -> Sequence[Ticket]:
    if delivery.receiver.startswith(WINDOW):
        found = tickets.by_id(connection, delivery.receiver.removeprefix(WINDOW))
        return [] if found is None else [found]
    if delivery.receiver.startswith(HOOK):
        return [ticket for ticket in about if host_of(ticket.hook) == delivery.receiver.removeprefix(HOOK)]
    return about


def _addressee(served: Sequence[Ticket]) -> Addressee:
    return Addressee(
        clients=tuple(sorted({ticket.client for ticket in served})),
        tickets=tuple(ticket.id for ticket in served),
    )
