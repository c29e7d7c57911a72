"""Who hears of an event at a gateway: the operator's rules as far as the client wants them, the clients' hooks, and the windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dispatcher.plugins.receivers import Registry
from dispatcher.tickets.clients import Children, Client
from storage.deliveries.delivery_queue import Route
from storage.engine import Connection
from storage.records import PendingEvent
from storage.tickets.audience import HEARD, HOOK, NOBODY, WINDOW, Audience, audiences

CONFIRM = "confirm:end"
"""The receiver that has the end of a task confirmed for clients that only poll, and see no end before."""

PICTURES = "keep:picture"
"""The receiver that keeps the pictures of clients' tasks."""

RULE = "rule:"

SIGNALS = HEARD
"""Events of these signals are fanned out while the gateway is on."""


def wants(client: Client, receiver: str) -> bool:
    """True if a client wants this receiver to act on its tasks: by the name of the receiver, or of its rule, whose effects and answers to
    modals have names such as "rule:NAME/archive"."""
    if client.rules is True:
        return True
    return receiver in (client.rules or []) or receiver.removeprefix(RULE).partition("/")[0] in (
        client.rules or []
    )


class Listening:
    """Routes events. `keeps_pictures`: the pictures of clients' tasks are kept here. `named` returns a client by its name."""

    def __init__(
        self,
        registry: Registry,
        named: Callable[[str], Client],
        *,
        keeps_pictures: bool = False,
    ) -> None:
        self._keeps_pictures = keeps_pictures
        self._registry = registry
        self._named = named

    def __call__(self, connection: Connection, events: Sequence[PendingEvent], now_ms: int) -> Route:
        """The route of these events."""
        found = audiences(connection, events, now_ms, self._children_of)
        return lambda event: self._names(event, found.get(event.id, NOBODY))

    def _children_of(self, client: str) -> Children:
        return self._named(client).children

    def _names(self, event: PendingEvent, audience: Audience) -> Sequence[str]:
        if audience.window:
            return [f"{WINDOW}{audience.window}"]
        connected = self._registry.receiver_names(event.signal, event.action)
        if audience.client:
            client = self._named(audience.client)
            connected = tuple(name for name in connected if wants(client, name))
        if self._keeps_pictures and event.signal == "task.succeeded" and audience.ends:
            connected = (*connected, PICTURES)
        told = [f"{HOOK}{host}" for host in audience.hosts] or ([CONFIRM] if audience.ends else [])
        return [*connected, *told]
