"""Withdraws what has not left: orders of clients, and submissions that a person drops. Nothing is sent, and nothing is paid."""

from __future__ import annotations

from sqlalchemy import Connection

from storage.budgets import charges
from storage.driver import locks
from storage.events import event_log
from storage.records import Submission, Ticket
from storage.submissions import scheduled, submission_queue
from storage.tickets import sql, tickets
from storage.tickets.audience import announce


def withdraw(connection: Connection, ticket: Ticket, why: str, now_ms: int) -> bool:
    """End a ticket of which nothing has left; False if something has, or may have. Its submission is withdrawn with it, unless
    somebody else wants it too."""
    if not ticket.submission_id:
        return _end(connection, ticket, why, now_ms)
    locks.submissions(connection, [ticket.submission_id])
    submission = submission_queue.find(connection, ticket.submission_id)
    if submission is None or submission.state != "waiting":
        return False
    others = [
        other
        for other in sql.OPEN_TICKETS_OF.all(connection, submission_ids=[submission.id])
        if other.id != ticket.id and other.ended_at_ms is None
    ]
    if not others and submission.asked_by == f"person:client {ticket.client}":
        if not _take_back(connection, submission, "withdrawn", why, now_ms, signal="submission.rejected"):
            return False
        return tickets.end(connection, [ticket.id], now_ms, fail_reason=why) == 1
    return _end(connection, ticket, why, now_ms)


def drop(connection: Connection, submission_id: str, why: str, now_ms: int, *, terms: str = "") -> bool:
    """Withdraw a submission that waits, and end the orders for it; False if it does not wait, or not any more.

    Its event has no signal: a rule that repeats what was rejected must not send it after all. A person who asks for the same again
    gets it (storage/submissions/waiting.py). With `terms`, only if it still waits on these terms.
    """
    locks.submissions(connection, [submission_id])
    if terms and not scheduled.has_terms(connection, submission_id, terms):
        return False
    submission = submission_queue.find(connection, submission_id)
    if submission is None or not _take_back(connection, submission, "dropped", why, now_ms, signal=None):
        return False
    for ticket in sql.OPEN_TICKETS_OF.all(connection, submission_ids=[submission_id]):
        if ticket.ended_at_ms is None:
            _end(connection, ticket, why, now_ms)
    return True


def _take_back(
    connection: Connection, submission: Submission, outcome: str, why: str, now_ms: int, *, signal: str | None
) -> bool:
    """End a submission that still waits, and give back what it is charged with."""
    withdrawn = submission_queue.move(
        connection,
        submission.id,
        by="withdraw",
        to="rejected",
        outcome=outcome,
        reason=why,
        run_at_ms=now_ms,
        now_ms=now_ms,
    )
    if not withdrawn:
        return False
    charges.follow(connection, submission.id)
    event_log.append(
        connection,
        event_log.fact(
            upstream=submission.upstream,
            task_id=submission.parent_id,
            submission_id=submission.id,
            source="internal",
            signal=signal,
            status=outcome,
            detail=why if signal else f"{submission.kind} {submission.label} by {submission.asked_by}: {why}",
            now_ms=now_ms,
        ),
    )
    return True


def _end(connection: Connection, ticket: Ticket, why: str, now_ms: int) -> bool:
    """End a ticket about which no event will tell its hook."""
    if not tickets.end(connection, [ticket.id], now_ms, fail_reason=why):
        return False
    announce(connection, ticket, why, now_ms)
    return True
