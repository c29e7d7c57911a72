"""What lists of tickets show of each: what was ordered, how it stands, and whether its client's hook was told."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dispatcher.tickets.shown import standing_of
from hooks.api.ticket_shapes import hook_state_of
from midjourney.buttons import Button
from storage.engine import Connection
from storage.reading.ticket_pages import HookState
from storage.records import Ticket, beginning
from storage.tickets.known import BELIEVED_AFTER_MS, Known, known


class TicketLine(msgspec.Struct, frozen=True, kw_only=True):
    """A ticket in a list. `status` is the one that its client sees, `progress` a percentage while it runs. `hook`: what its hook was
    told, as in `HookState`."""

    id: str
    client: str
    label: str
    prompt: str
    upstream: str
    status: str
    progress: int | None
    fail_reason: str
    hook: HookState
    created_at_ms: int
    changed_at_ms: int


def ticket_lines(connection: Connection, tickets: Sequence[Ticket], now_ms: int) -> list[TicketLine]:
    """These tickets as a list shows them, in the same order."""
    return [line_of(seen) for seen in known(connection, tickets, now_ms)]


def line_of(seen: Known) -> TicketLine:
    """A ticket as a list shows it."""
    ticket, standing = seen.ticket, standing_of(seen, keeps_cancel=True)
    return TicketLine(
        id=ticket.id,
        client=ticket.client,
        label=label_of(ticket),
        prompt=beginning(ticket.prompt),
        upstream=seen.upstream,
        status=standing.status,
        progress=standing.progress if standing.status == "IN_PROGRESS" else None,
        fail_reason=beginning(standing.fail_reason),
        hook=hook_state_of(ticket),
        created_at_ms=ticket.created_at_ms,
        changed_at_ms=changed_at_ms(seen),
    )


def changed_at_ms(seen: Known) -> int:
    """When a ticket last changed, as far as that is known: what its hook is told leaves no time."""
    ticket = seen.ticket
    times = [ticket.created_at_ms, ticket.answered_at_ms or 0, ticket.ended_at_ms or 0]
    times += [part.updated_at_ms for part in (seen.submission, seen.task) if part is not None]
    return max(times)


def label_of(ticket: Ticket) -> str:
    """What was ordered, in short: the button that was pressed, or the kind of the order."""
    name = Button(custom_id=ticket.custom_id).name if ticket.custom_id else ""
    return name.replace("_", " ") or ticket.kind


def marks_of(connection: Connection, tickets: Sequence[Ticket], now_ms: int) -> dict[str, object]:
    """For each ticket, by id, a value that changes with its line. Only those that may still change are read completely: an end is not
    believed at once."""
    since_ms = now_ms - BELIEVED_AFTER_MS
    unsettled = [one for one in tickets if one.ended_at_ms is None or one.ended_at_ms >= since_ms]
    standing = {seen.ticket.id: standing_of(seen) for seen in known(connection, unsettled, now_ms)}
    return {one.id: (one.told_status, one.ended_at_ms, one.upstream, standing.get(one.id)) for one in tickets}
