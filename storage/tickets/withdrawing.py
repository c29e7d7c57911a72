"""Withdraws orders that have not left: their submissions are not sent any more, and nothing is paid."""

from __future__ import annotations

from sqlalchemy import Connection

from storage.budgets import charges
from storage.driver import locks
from storage.events import event_log
from storage.records import Ticket
from storage.submissions import submission_queue
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
        withdrawn = submission_queue.move(
            connection,
            submission.id,
            by="withdraw",
            to="rejected",
            outcome="withdrawn",
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
                signal="submission.rejected",
                status="withdrawn",
                detail=why,
                now_ms=now_ms,
            ),
        )
        return tickets.end(connection, [ticket.id], now_ms, fail_reason=why) == 1
    return _end(connection, ticket, why, now_ms)


def _end(connection: Connection, ticket: Ticket, why: str, now_ms: int) -> bool:
    """End a ticket about which no event will tell its hook."""
    if not tickets.end(connection, [ticket.id], now_ms, fail_reason=why):
        return False
    announce(connection, ticket, why, now_ms)
    return True
