"""Converts tickets to the API's response bodies, without a client's `state` and without more of its hook than the host."""

from __future__ import annotations

from dispatcher.tickets.clients import Client
from dispatcher.tickets.shown import REMOVED, Standing, standing_of
from hooks.api import shapes
from hooks.api.gateway_answers import HookMessage, Ticket, TicketDetail, TicketHook, Window
from hooks.times import when
from midjourney.addresses import shown
from midjourney.redact import redacted_text
from midjourney.statuses import TERMINAL
from storage.reading.ticket_pages import HookState, TicketState
from storage.reading.ticket_story import Story
from storage.records import BY_CLIENT, Delivery
from storage.records import Ticket as StoredTicket
from storage.tickets.audience import GONE, host_of, messages_in
from storage.tickets.known import Known


def ticket_shape(seen: Known, client: Client) -> Ticket:
    """Return a ticket as it stands."""
    ticket, submission = seen.ticket, seen.submission
    standing = standing_of(seen, keeps_cancel=client.keep_cancel)
    return Ticket(
        id=ticket.id,
        task_id=(seen.task.id if seen.task is not None else ticket.task_id) or None,
        upstream=seen.upstream,
        client=ticket.client,
        kind=ticket.kind,
        action=ticket.action,
        prompt=ticket.prompt,
        state=state_of(ticket, standing),
        status=standing.status,
        progress=standing.progress,
        fail_reason=standing.fail_reason or None,
        parent_id=ticket.parent_id or None,
        submission_id=ticket.submission_id or None,
        chain_id=submission.chain_id if submission is not None else None,
        hook=TicketHook(host=host_of(ticket.hook), state=hook_state_of(ticket)) if ticket.hook else None,
        created_at=when(ticket.created_at_ms),
        answered_at=when(ticket.answered_at_ms),
        ended_at=when(ticket.ended_at_ms),
    )


def state_of(ticket: StoredTicket, standing: Standing) -> TicketState:
    """The state of a ticket, as the filter of the list has it (storage/reading/ticket_pages.py)."""
    if ticket.ended_at_ms is None:
        return "window" if ticket.is_window else "open"
    # What became of it has been removed: whether it had failed is not known any more.
    return "failed" if standing.fail_reason not in ("", REMOVED) else "ended"


def hook_state_of(ticket: StoredTicket) -> HookState:
    """How far the messages to a ticket's hook are."""
    if not ticket.hook:
        return "none"
    if ticket.told_status.startswith(GONE):
        return "dead"
    return "told" if ticket.told_status in TERMINAL else "waiting"


def story_shape(story: Story, client: Client) -> TicketDetail:
    """Return a ticket with all that was done for it."""
    ticket = story.ticket
    signals = {event.id: event.signal for event in story.events}
    asked_by = story.submissions[0].asked_by if story.submissions else ""
    return shapes.extended(
        TicketDetail,
        ticket_shape(story.seen, client),
        chosen=ticket.chosen,
        joined=bool(asked_by) and asked_by != f"{BY_CLIENT}{ticket.client}",
        shared_with=story.shared,
        window=_window(story),
        submissions=[
            shapes.submission_detail(submission, story.attempts[submission.id])
            for submission in story.submissions
        ],
        messages=[_message(run, ticket, signals.get(run.event_id)) for run in story.told],
    )


def _message(run: Delivery, ticket: StoredTicket, signal: str | None) -> HookMessage:
    # Errors may name the address as hookchain does in messages, with its path.
    host, last = host_of(ticket.hook), run.error.strip().rpartition("\n")[2]
    error = last.replace(ticket.hook, host).replace(shown(ticket.hook), host)
    return HookMessage(
        delivery_id=run.id,
        event_id=run.event_id,
        signal=signal,
        state=run.state,
        attempts=run.attempts,
        told=messages_in(run.decision, ticket.id),
        error=redacted_text(error) or None,
        dead_letter=f"delivery-{run.id}" if run.state == "dead" else None,
        run_at=when(run.run_at_ms),
        created_at=when(run.created_at_ms),
        updated_at=when(run.updated_at_ms),
    )


def _window(story: Story) -> Window | None:
    """The window of a ticket, if it had one: the gateway's own, or one that the upstream opened."""
    ticket, submissions = story.ticket, story.submissions
    by_client = bool(ticket.answer)
    if story.is_own_window:
        return Window(
            opened_by="hookchain",
            opened_at=when(ticket.created_at_ms),
            answered_by="client" if by_client else None,
            answered_at=when(submissions[0].created_at_ms) if by_client and submissions else None,
        )
    opened = next((event for event in story.events if event.signal == "submission.needs_modal"), None)
    if opened is None:
        return None
    answer = next(
        (one for one in submissions if one.kind == "modal" and one.id != ticket.submission_id), None
    )
    return Window(
        opened_by="upstream",
        opened_at=when(opened.received_at_ms),
        answered_by=None if answer is None else "client" if by_client else "hookchain",
        answered_at=when(answer.created_at_ms) if answer is not None else None,
    )
