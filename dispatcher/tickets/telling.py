"""Tells clients, at their own notifyHook, what becomes of their tasks: SUBMITTED once, each percentage once and only rising, one end.

It is a receiver like any other: what it has to tell is a delivery, which is retried, becomes a dead letter, and is shown and explained.
The deliveries of a task to a host run one after the other, and each tells what is true when it runs: newer progress replaces what
waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial

import msgspec

from dispatcher.effects.forward import webhook_of
from dispatcher.plugins.chain import Chain, UpstreamHandle
from dispatcher.plugins.errors import GiveUp, Retry
from dispatcher.plugins.receivers import Options, Receiver
from dispatcher.tickets.clients import Client
from dispatcher.tickets.hooks import may_be_called
from dispatcher.tickets.shown import Standing, standing_of
from dispatcher.tickets.views import Views
from midjourney.errors import ProtocolError
from midjourney.posting import NotReachable, NotTaken, post
from midjourney.statuses import TERMINAL, Status
from storage import clock
from storage.engine import Connection, Database
from storage.records import Event, Ticket
from storage.tasks.believe import believe
from storage.tickets import tickets
from storage.tickets.audience import CHANGED, ENDS, GONE, HOOK, MADE, concerned, host_of, message_note
from storage.tickets.known import Known, known

WITHIN_S = 10.0
TOLD_FOR_MS = 24 * 3600 * 1000
LONGEST_WAIT_S = 900.0
REFUSED_FOR_MS = 60_000
"""A hook that answers 4xx is tried for this long: six times, after 1, 2, 4, 8, 16 and 32 seconds."""

ANSWER_FIRST_MS = 2_000
"""For so long a message waits until the client has the answer to its order, so that it knows the id in it."""

NOT_YET_S = 1.0
"""Pause before the next look at an end that cannot be told yet."""

_LATER = (408, 425, 429)
_OPTIONS = Options(attempts=10_000, concurrency=8, timeout_s=60.0, pure=True, harmless=True, requests=False)


LAST = ":last"
"""Follows the event's id in `told_status` if no other event's messages are to be tried either."""


class WantsNoMore(GiveUp):
    """A hook that is not to be called again: it said so, or its address must not be called."""


class Teller:
    """Makes the receivers of hooks. `named` returns a client by its name."""

    def __init__(
        self,
        database: Database,
        handles: Mapping[str, UpstreamHandle],
        named: Callable[[str], Client],
        views: Views,
    ) -> None:
        self._views = views
        self._database = database
        self._handles = handles
        self._named = named

    def receiver(self, name: str) -> Receiver:
        """The receiver that tells the hooks at one host."""
        host = name.removeprefix(HOOK)

        async def tell(_action: str, *, event: Event, chain: Chain, **_: object) -> None:
            await self._tell(host, event, chain)

        return Receiver(name=name, function=tell, options=_OPTIONS)

    def confirming(self, name: str) -> Receiver:
        """The receiver that has the ends of tasks confirmed at once."""

        async def confirm(_action: str, *, event: Event, **_: object) -> None:
            for seen in await self._known(event):
                await self._confirmed(seen)

        return Receiver(name=name, function=confirm, options=_OPTIONS)

    async def _tell(self, host: str, event: Event, chain: Chain) -> None:
        """Tell every ticket at a host that the event concerns. One that fails keeps nothing from the others."""
        failures: list[Exception] = []
        for seen in await self._known(event):
            if host_of(seen.ticket.hook) == host:
                try:
                    await self._tell_one(seen, event, chain)
                except (Retry, GiveUp) as failure:
                    failures.append(failure)
        if failures:
            raise next((one for one in failures if isinstance(one, Retry)), failures[0])

    async def _tell_one(self, seen: Known, event: Event, chain: Chain) -> None:
        ticket, signal = seen.ticket, event.signal or ""
        client = self._named(ticket.client)
        if signal in ENDS or signal == CHANGED:
            seen = await self._confirmed(seen)
            if why := _not_yet(seen, event):
                raise Retry(why, after_s=NOT_YET_S)
        told = message_about(seen, event, client)
        if told is None:
            return
        await self._after_the_answer(ticket)
        try:
            answer = await self._post(seen, told, client, event)
        except GiveUp as error:
            self._database.tally.messages["given_up"] += 1
            last = LAST if isinstance(error, WantsNoMore) else ""
            await self._note(ticket.id, f"{GONE}{event.id}{last}", -1)
            raise
        chain.note(message_note(ticket.id, f"{told.status} {told.progress}%", answer))
        await self._note(ticket.id, str(told.status), told.progress)
        if signal == CHANGED and told.status == Status.SUBMITTED:
            # It joined a task that was made before: what it has become comes at once, and not with the next event.
            for again in await self._known(event):
                if again.ticket.id == ticket.id:
                    await self._tell_one(again, event, chain)

    async def _note(self, ticket_id: str, status: str, progress: int) -> None:
        """Store the last that a ticket's hook was told."""
        await self._database.write(
            "told", partial(tickets.set_told, ticket_id=ticket_id, status=status, progress=progress)
        )

    async def _known(self, event: Event) -> list[Known]:
        def read(connection: Connection) -> list[Known]:
            return known(connection, concerned(connection, event), clock.now_ms())

        return await self._database.read(read)

    async def _confirmed(self, seen: Known) -> Known:
        """What is known once the upstream has confirmed the end of the task. Raises `Retry` if it does not answer."""
        row, handle = seen.task, self._handles.get(seen.upstream)
        if (
            row is None
            or row.confirmed
            or row.finished_at_ms is None
            or handle is None
            or handle.read_back is None
        ):
            return seen
        try:
            report = await handle.read_back(row.id)
        except ProtocolError as error:
            raise Retry(f"the end cannot be confirmed: {error}", after_s=1.0) from error
        now_ms = clock.now_ms()
        await self._database.write("believe", partial(believe, report=report, now_ms=now_ms))
        self._database.wakeups.wake("events")
        (again,) = await self._database.read(lambda connection: known(connection, [seen.ticket], now_ms))
        return again

    async def _after_the_answer(self, ticket: Ticket) -> None:
        """Return when the client has the answer to its order, or should have."""
        while ticket.answered_at_ms is None and clock.now_ms() - ticket.created_at_ms < ANSWER_FIRST_MS:
            await asyncio.sleep(0.02)
            found = await self._database.read(partial(tickets.by_id, ticket_id=ticket.id))
            if found is None:
                return
            ticket = found

    async def _post(self, seen: Known, told: Standing, client: Client, event: Event) -> str:
        """Post a message once; returns what the hook answered. Raises `Retry` and `GiveUp`, but for progress, which is tried once."""
        ticket, is_progress = seen.ticket, told.status == Status.IN_PROGRESS
        body = msgspec.json.encode(_body(self._views.of(seen, client), told))
        name = f"{ticket.id}-{told.status}" + (f"-{told.progress}" if is_progress else "")
        try:
            answer = await post(
                ticket.hook,
                body,
                signed_headers(body, name, client.hook_secret, clock.now_ms() // 1000),
                within_s=WITHIN_S,
                allow_private=may_be_called(ticket.hook, client.hook_hosts),
            )
        except NotReachable as error:
            self._database.tally.messages["not_allowed"] += 1
            raise WantsNoMore(str(error)) from error
        except NotTaken as error:
            self._database.tally.messages["unreachable"] += 1
            if is_progress:
                return f"not taken: {error}"
            host = host_of(ticket.hook)
            why = str(error) if str(error).startswith(host) else f"{host} cannot be reached: {error}"
            raise _later(event, why, None) from error
        is_taken = 200 <= answer.status < 300
        self._database.tally.messages["taken" if is_taken else "refused"] += 1
        if not is_taken and not is_progress:
            raise _refusal(event, host_of(ticket.hook), answer.status, answer.retry_after_s)
        return f"HTTP {answer.status}"


def message_about(seen: Known, event: Event, client: Client) -> Standing | None:
    """What a ticket's hook is told because of an event; None if it knows that already, or something newer will be told."""
    ticket, signal = seen.ticket, event.signal or ""
    now = standing_of(seen, keeps_cancel=client.keep_cancel)
    if ticket.told_status in TERMINAL:
        return None
    if _is_gone(ticket) and not _is_of(ticket, event):
        # The hook may take messages again: it is to hear how the task ended, and nothing else.
        may_hear = signal in ENDS or signal == CHANGED
        return now if may_hear and now.has_ended and not ticket.told_status.endswith(LAST) else None
    if signal in ENDS or (_is_gone(ticket) and now.has_ended):
        # What was given up is made up for by one message: its other deliveries have passed by.
        return now if now.has_ended else None
    is_new_progress = now.status == Status.IN_PROGRESS and now.progress > max(ticket.told_progress, 0)
    if signal == CHANGED and now.has_ended:
        return now
    if not ticket.told_status or _is_gone(ticket):
        return Standing(Status.SUBMITTED, 0)
    # An end that is not confirmed yet will be told in a moment.
    return now if is_new_progress and signal not in MADE and seen.is_believed else None


def _not_yet(seen: Known, event: Event) -> str:
    """Why an end has to wait, or "". No other signal will tell of it, so its message must not pass by."""
    if not seen.is_believed:
        return "the upstream does not show the end yet"  # its answers may lag behind its own callback
    is_of_a_task = (event.signal or "").startswith("task.")
    if is_of_a_task and seen.task is None and not standing_of(seen).has_ended:
        return "the answer to the order did not come, and nothing shows yet that the task belongs to it"
    return ""


def _is_gone(ticket: Ticket) -> bool:
    """True if the messages of an event were given up. Only that event, if a person retries it, and the end are told then."""
    return ticket.told_status.startswith(GONE)


def _is_of(ticket: Ticket, event: Event) -> bool:
    """True if it was this event whose messages were given up."""
    return ticket.told_status.removesuffix(LAST) == f"{GONE}{event.id}"


def _body(body: dict[str, object], told: Standing) -> dict[str, object]:
    if told.status != Status.SUBMITTED:
        return body
    names = ("startTime", "finishTime", "imageUrl", "failReason")
    unset: dict[str, object] = dict.fromkeys(names)
    return body | unset | {"status": Status.SUBMITTED, "progress": "0%", "buttons": []}


def signed_headers(body: bytes, name: str, secret: str, now_s: int) -> dict[str, str]:
    """The headers of Standard Webhooks; the id is the same at each try, and the signature is there if the client has a secret."""
    headers = {"webhook-id": f"msg_{name}", "webhook-timestamp": str(now_s)}
    if secret:
        at = datetime.fromtimestamp(now_s, UTC)
        headers["webhook-signature"] = webhook_of(secret).sign(headers["webhook-id"], at, body.decode())
    return headers


def _refusal(event: Event, host: str, status: int, retry_after_s: float | None) -> Exception:
    why = f"{host} answered HTTP {status}"
    if status == 410:
        return WantsNoMore(f"{why} (gone): it wants no more messages")
    if 400 <= status < 500 and status not in _LATER and _age_ms(event) > REFUSED_FOR_MS:
        return GiveUp(why)
    if 300 <= status < 400 and _age_ms(event) > REFUSED_FOR_MS:
        return GiveUp(f"{why}: redirects are not followed")
    return _later(event, why, retry_after_s if status in (*_LATER, 503) else None)


def _later(event: Event, why: str, retry_after_s: float | None) -> Exception:
    """Another try: after 1, 2, 4 … 900 seconds, for a day."""
    age_ms = _age_ms(event)
    if age_ms > TOLD_FOR_MS:
        return GiveUp(why)
    return Retry(why, after_s=min(retry_after_s or max(1.0, age_ms / 1000), LONGEST_WAIT_S))


def _age_ms(event: Event) -> int:
    return max(0, clock.now_ms() - event.received_at_ms)
