"""Answers windows for clients: with what a client answered to the window that the gateway opened, or, if a window opens after the
client was told that its order is accepted, with the text in it, because no client could answer it any more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from dispatcher.plugins.chain import Chain
from dispatcher.plugins.errors import Retry
from dispatcher.plugins.open_modal import OpenModal
from dispatcher.plugins.receivers import Options, Receiver
from midjourney.requests import Modal, decode_request
from storage import clock
from storage.engine import Database
from storage.records import Ticket
from storage.tickets import tickets
from storage.tickets.audience import WINDOW

AGAIN_S = 1.0
PATIENCE_MS = tickets.REPEATED_WITHIN_MS
"""A client that hung up before it had its answer may send its order again within this time, and then answers the window itself."""

_OPTIONS = Options(attempts=1000, concurrency=8, harmless=True)


class Windows:
    """Makes the receivers of windows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def receiver(self, name: str) -> Receiver:
        """The receiver of one ticket's window."""
        ticket_id = name.removeprefix(WINDOW)

        async def answer(_action: str, *, modal: OpenModal, chain: Chain, **_: object) -> None:
            await self._answer(ticket_id, modal, chain)

        function: Callable[..., Awaitable[None]] = answer
        return Receiver(name=name, function=function, options=_OPTIONS)

    async def _answer(self, ticket_id: str, modal: OpenModal, chain: Chain) -> None:
        ticket = await self._database.read(lambda connection: tickets.by_id(connection, ticket_id))
        if ticket is None or ticket.ended_at_ms is not None:
            chain.note("its ticket has ended, so nobody wants it any more")
            return
        if ticket.answer:
            request = decode_request(ticket.answer)
            assert isinstance(request, Modal), "the answer to a window is a modal"
            chain.modal(prompt=request.prompt, mask=request.mask)
            return
        if ticket.is_window:
            chain.note("its client answers it")
            return
        if _may_still_be_told(ticket, clock.now_ms()):
            raise Retry("the client has not got its answer yet", after_s=AGAIN_S)
        chain.note("the client was told that its order is accepted before the window opened")
        chain.modal(prompt=modal.prompt)


def _may_still_be_told(ticket: Ticket, now_ms: int) -> bool:
    return ticket.answered_at_ms is None and now_ms - ticket.created_at_ms < PATIENCE_MS
