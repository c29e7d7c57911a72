"""Which tickets an event concerns: it ends them, ties them to their tasks, and their clients' hooks are to hear of it.

This is read and written while events are fanned out, in their order, so that it holds for every way in which a fact arrives: an
answer, a callback, a poll, evidence, a person's decision.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Connection

from storage.events import event_log
from storage.records import BY_CLIENT, JOINS, Event, PendingEvent, Ticket
from storage.tickets import children, sql, tickets
from storage.tickets.children import Children
from storage.tickets.sql import Place

MADE = frozenset({"submission.accepted", "submission.queued", "submission.existed", "submission.needs_modal"})
"""Signals by which a submission has a task."""

ENDS = frozenset(
    {
        "task.succeeded",
        "task.failed",
        "task.cancelled",
        "task.lost",
        "submission.rejected",
        "submission.dead",
        "budget.exceeded",
    }
)
"""Signals that end a ticket."""

CHANGED = "ticket.changed"
"""The signal of a change that no upstream reports: an order joined a task that others made, or a ticket ended here. Only hooks hear
it. Such an event of a ticket without a task has the ticket's id instead."""

HOOK = "hook:"
"""Prefix of the receivers that tell clients: "hook:bot.example.com:8080". All tickets of a host share its slots."""

WINDOW = "window:"
"""Prefix of the receivers that answer windows for clients: "window:TICKET"."""

GONE = "gone:"
"""Beginning of `told_status` once the messages of an event were given up. The event's id follows, and ":last" if the hook is not to
be called for any other event either (dispatcher/tickets/telling.py)."""

HEARD = MADE | ENDS | {"task.submitted", "task.started", "task.progressed", CHANGED}
"""Signals that matter to tickets."""


class Audience(msgspec.Struct, frozen=True):
    """Who hears an event besides the connected receivers: the hosts of clients' hooks. `client` submitted the root of its chain.
    `window`: the ticket whose window the event opened; then nobody else hears it. `ends`: it ends tickets, whose clients may only poll."""

    client: str = ""
    hosts: tuple[str, ...] = ()
    window: str = ""
    ends: bool = False


NOBODY = Audience()


def message_note(ticket_id: str, told: str, answer: str) -> str:
    """What the decision of a delivery says about a message: which ticket, what was told, and what the hook answered."""
    return f"{ticket_id} {told}: {answer}"


def messages_in(decision: str, ticket_id: str) -> list[str]:
    """The messages about a ticket in the decision of a delivery, such as "SUCCESS 100%: HTTP 200"."""
    return [
        note.removeprefix(f"{ticket_id} ")
        for note in decision.split("; ")
        if note.startswith(f"{ticket_id} ")
    ]


def host_of(hook: str) -> str:
    """The host and port of a hook, which share their slots; without user name or path, which may be secret."""
    try:
        parts = urlsplit(hook)
        return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""
    except ValueError:
        return ""


def audiences(
    connection: Connection,
    events: Sequence[PendingEvent],
    now_ms: int,
    children_of: Callable[[str], Children] = lambda _client: "hide",
) -> dict[int, Audience]:
    """The audience of each event that has one, by the event's id. Ties and ends the tickets that the events concern.

    `children_of` returns whether a client sees what rules add to its tasks.
    """
    heard = [event for event in events if event.signal in HEARD or event.signal in JOINS]
    if not heard:
        return {}
    places = {
        place.event_id: place for place in sql.PLACES.all(connection, ids=[event.id for event in heard])
    }
    concerned = _concerned(connection, heard, places)
    result: dict[int, Audience] = {}
    for event in heard:
        found = concerned.get(event.id, [])
        place = places.get(event.id)
        client = place.client if place is not None else ""
        if event.signal in JOINS:  # for the rules that the client wants; no hook is called for it
            if client:
                result[event.id] = Audience(client)
            continue
        if (
            not found
            and place is not None
            and client
            and event.signal in MADE
            and children_of(client) != "hide"
        ):
            child = children.add(
                connection, place.about, client, children_of(client), [event.upstream], now_ms
            )
            found = [child] if child is not None else []
        if found:
            _follow(connection, event, found, now_ms)
        if client or found:
            by_client = place is not None and place.asked_by.startswith(BY_CLIENT)
            result[event.id] = _audience(event, client, found, by_client=by_client)
    return result


def concerned(connection: Connection, event: Event) -> list[Ticket]:
    """The tickets that an event concerns."""
    return concerned_by(connection, [event]).get(event.id, [])


def concerned_by(connection: Connection, events: Iterable[Event]) -> dict[int, list[Ticket]]:
    """The tickets that each of these events concerns, by the event's id. Events without a signal concern none."""
    pending = [
        PendingEvent(
            event.id, event.upstream, event.task_id, event.signal, event.action, event.source, None, None
        )
        for event in events
        if event.signal is not None
    ]
    places = {
        place.event_id: place for place in sql.PLACES.all(connection, ids=[event.id for event in pending])
    }
    return _concerned(connection, pending, places)


def _concerned(
    connection: Connection, events: Sequence[PendingEvent], places: Mapping[int, Place]
) -> dict[int, list[Ticket]]:
    submissions = sorted({name for place in places.values() for name in place[1:4] if name})
    task_ids = sorted({event.task_id for event in events if event.task_id})
    by_submission: defaultdict[str, list[Ticket]] = defaultdict(list)
    by_task: defaultdict[tuple[str, str], list[Ticket]] = defaultdict(list)
    for ticket in sql.OPEN_TICKETS_OF.all(connection, submission_ids=submissions) if submissions else ():
        by_submission[ticket.submission_id].append(ticket)
    for ticket in sql.TICKETS_OF_TASKS.all(connection, task_ids=task_ids) if task_ids else ():
        by_task[ticket.upstream, ticket.task_id].append(ticket)
    for event in events:
        if event.signal == CHANGED and not any(places[event.id][1:3]):
            alone = tickets.by_id(connection, event.task_id)
            by_task[event.upstream, event.task_id] += [alone] if alone is not None else []
    found: dict[int, list[Ticket]] = {}
    for event in events:
        place = places.get(event.id)
        near = [] if event.signal.startswith("submission.") else by_task[event.upstream, event.task_id]
        names = [] if place is None else _names(event, place)
        together = {
            ticket.id: ticket for ticket in (*near, *(one for name in names for one in by_submission[name]))
        }
        if together:
            found[event.id] = list(together.values())
    return found


def _names(event: PendingEvent, place: Place) -> list[str]:
    """The submissions whose tickets an event concerns. An answer is about its own submission, and not about the parent's."""
    if event.signal.startswith(("submission.", "budget.")):
        return [name for name in (place.about, place.opened_by) if name]
    return [name for name in (place.about, place.made_by, place.opened_by) if name]


def _follow(connection: Connection, event: PendingEvent, found: Sequence[Ticket], now_ms: int) -> None:
    """Tie the tickets to their task, and end those that have ended."""
    if event.signal in MADE and event.task_id:
        for submission_id in {
            ticket.submission_id for ticket in found if ticket.submission_id and not ticket.task_id
        }:
            tickets.tie(connection, submission_id, event.upstream, event.task_id)
    if event.signal in ENDS:
        tickets.end(connection, [ticket.id for ticket in found if ticket.ended_at_ms is None], now_ms)


def _audience(event: PendingEvent, client: str, found: Sequence[Ticket], *, by_client: bool) -> Audience:
    if event.signal == "submission.needs_modal" and by_client:
        owners = [ticket for ticket in found if ticket.ended_at_ms is None]
        return Audience(client, window=owners[0].id if owners else "")
    hosts = sorted({host_of(ticket.hook) for ticket in found if ticket.hook} - {""})
    return Audience(client, tuple(hosts), ends=bool(found) and event.signal in ENDS)


def announce(connection: Connection, ticket: Ticket, why: str, now_ms: int, *, task_id: str = "") -> None:
    """Have the hooks of a ticket told how it stands now, after everything that they are being told about its task."""
    event_log.append(
        connection,
        event_log.fact(
            upstream=ticket.upstream,
            task_id=task_id or ticket.task_id or ("" if ticket.submission_id else ticket.id),
            submission_id=ticket.submission_id,
            source="internal",
            signal=CHANGED,
            detail=why,
            now_ms=now_ms,
        ),
    )
