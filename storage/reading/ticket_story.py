"""Reads everything about one ticket: the accounts that were tried, each try, its task, and the messages to its client's hook."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from storage.events import event_log
from storage.reading import sql, sql_tickets, sql_versions
from storage.records import Attempt, ChainRow, Delivery, Event, Submission, Ticket
from storage.submissions import submission_queue
from storage.tasks import chains
from storage.tickets import moves, tickets
from storage.tickets.audience import CHANGED, HOOK, WINDOW, host_of
from storage.tickets.known import Known, known
from storage.tickets.tickets import key_of_window

MOST_EVENTS = 500
"""The number of newest events that are read of one ticket: a task has some dozen, and hundreds only because of a loop elsewhere."""


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """A ticket, what is known of it now, and how it came to that, oldest first.

    `submissions`: those that were sent for it, the ones that moved to another account included, and the answer to its window. Their
    `asked_by` says who was first: this client, another one, or a rule, whose task the client then got. `shared`: how many other
    tickets show the same submission. `told`: the messages to its hook. `answered`: the runs that answered its window. `is_cut`:
    there are older events than these.
    """

    seen: Known
    chain: ChainRow | None
    submissions: list[Submission]
    attempts: dict[str, list[Attempt]]
    events: list[Event]
    is_cut: bool
    told: list[Delivery]
    answered: list[Delivery]
    shared: int

    @property
    def ticket(self) -> Ticket:
        """The ticket itself."""
        return self.seen.ticket

    @property
    def is_own_window(self) -> bool:
        """True if the ticket is a window that the gateway opened itself: nothing was sent for it before the client answered."""
        ticket = self.ticket
        if not ticket.submission_id:
            return True
        return bool(self.submissions) and self.submissions[0].idempotency_key == key_of_window(
            ticket.upstream, ticket.id
        )


def story(connection: Connection, ticket_id: str, now_ms: int) -> Story | None:
    """The story of a ticket of any client; None if there is no such ticket."""
    ticket = tickets.by_id(connection, ticket_id)
    if ticket is None:
        return None
    (seen,) = known(connection, [ticket], now_ms)
    submissions = _submissions(connection, seen)
    events, is_cut = _events(connection, seen, submissions)
    attempts: dict[str, list[Attempt]] = {submission.id: [] for submission in submissions}
    for attempt in sql_tickets.ATTEMPTS_OF.all(connection, submission_ids=list(attempts)) if attempts else ():
        attempts[attempt.submission_id].append(attempt)
    hook, window = f"{HOOK}{host_of(ticket.hook)}", f"{WINDOW}{ticket.id}"
    # The host's other tickets were told of what came before this one.
    since_ms = ticket.created_at_ms - event_log.SKEW_MS
    own = [event.id for event in events if event.received_at_ms >= since_ms]
    runs = sql_tickets.DELIVERIES_TO.all(connection, event_ids=own, receivers=[hook, window]) if own else []
    return Story(
        seen=seen,
        chain=chains.find(connection, submissions[-1].chain_id) if submissions else None,
        submissions=submissions,
        attempts=attempts,
        events=events,
        is_cut=is_cut,
        told=[run for run in runs if ticket.hook and run.receiver == hook],
        answered=[run for run in runs if run.receiver == window],
        shared=sql_tickets.COUNT_SHOWING.one(connection, submission_id=ticket.submission_id, id=ticket.id),
    )


def _submissions(connection: Connection, seen: Known) -> list[Submission]:
    """The submission of a ticket, those that moved until it took their place, and the answer to its window."""
    found: list[Submission] = []
    own = submission_queue.find(connection, seen.ticket.submission_id) if seen.ticket.submission_id else None
    while own is not None and own not in found:
        found = [own, *found]
        before = moves.moved_from(own)
        own = submission_queue.find(connection, before) if before else None
    if seen.submission is not None and all(one.id != seen.submission.id for one in found):
        found.append(seen.submission)
    return found


def _events(connection: Connection, seen: Known, submissions: list[Submission]) -> tuple[list[Event], bool]:
    """The newest events of a ticket, oldest first, and True if there are more."""
    most, ticket = MOST_EVENTS + 1, seen.ticket
    ids = {task_id for submission in submissions for task_id in submission.task_ids} | {ticket.task_id}
    if seen.task is not None:
        ids.add(seen.task.id)
    places = {(submission.upstream, task_id) for submission in submissions for task_id in ids if task_id}
    places |= {(ticket.upstream, ticket.task_id)} if ticket.task_id else set()
    found: dict[int, Event] = {}
    for upstream, task_id in sorted(places):
        newest = sql.NEWEST_EVENTS.all(connection, upstream=upstream, task_id=task_id, most=most)
        found |= {event.id: event for event in newest}
    if submissions:
        names = [submission.id for submission in submissions]
        about = sql_tickets.EVENTS_OF_SUBMISSIONS.all(connection, submission_ids=names, most=most)
        found |= {event.id: event for event in about}
    if not ticket.submission_id:
        # A window that was never answered has no task: its own id stands in the event of its end.
        alone = sql.NEWEST_EVENTS.all(connection, upstream=ticket.upstream, task_id=ticket.id, most=most)
        found |= {event.id: event for event in alone if event.signal == CHANGED}
    ordered = [found[event_id] for event_id in sorted(found)]
    return ordered[-MOST_EVENTS:], len(ordered) > MOST_EVENTS


def version(connection: Connection, ticket_id: str) -> tuple[object, ...]:
    """Values that change whenever the story of a ticket does."""
    ticket = tickets.by_id(connection, ticket_id)
    if ticket is None:
        return ()
    (seen,) = known(connection, [ticket], ticket.created_at_ms)
    made = [submission.id for submission in _submissions(connection, seen)]
    task_id = seen.task.id if seen.task is not None else ticket.task_id or ticket.id
    newest = {"upstream": seen.upstream, "task_id": task_id, "most": MOST_EVENTS}
    return (
        ticket.is_window,
        ticket.submission_id,
        ticket.told_status,
        ticket.told_progress,
        ticket.answered_at_ms,
        ticket.ended_at_ms,
        made,
        seen.submission.updated_at_ms if seen.submission is not None else 0,
        seen.task.updated_at_ms if seen.task is not None else 0,
        sql_versions.EVENTS_OF_TASK.one(connection, **newest),
        sql_versions.DELIVERIES_OF_TASK.one(connection, **newest),
        sql_versions.OF_SUBMISSIONS.one(connection, submission_ids=made, most=MOST_EVENTS),
    )
