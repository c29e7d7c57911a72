"""Retries dead and rejected submissions for a person, as they were or edited, or discards dead ones.

A submission returns to waiting only if nothing shows that its upstream took it. "Dead" and "rejected" describe the end of the
last attempt only: a callback may have arrived on its hook before that answer, and an earlier attempt may have ended without an
answer. So the update statement itself checks for such evidence, with the row locked.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from storage.budgets import charges
from storage.driver import locks
from storage.driver.statements import Query
from storage.duty import protocol
from storage.duty.duties import SUBMISSIONS
from storage.events import event_log
from storage.submissions import sql_retries, submission_queue


def retry(connection: Connection, ids: Sequence[str], now_ms: int) -> int:
    """Requeue the dead or rejected ones of these submissions that no upstream is known to have taken, with all their attempts;
    returns their number. Those for which a budget has no room are refused instead."""
    locks.submissions(connection, list(ids))
    return _requeue(connection, sql_retries.RETRY, ids, now_ms, reason="retried by hand")


def _requeue(
    connection: Connection, statement: Query[str], ids: Sequence[str], now_ms: int, **values: object
) -> int:
    """Requeue those of these submissions that the statement allows, and charge them again; returns their number."""
    requeued = protocol.retry(connection, SUBMISSIONS, statement, ids, now_ms, **values)
    for submission_id in requeued:
        charge_again(connection, submission_id, now_ms, how="retried by hand")
    return len(requeued)


def charge_again(connection: Connection, submission_id: str, now_ms: int, *, how: str) -> str:
    """Charge a submission that waits again; refuse it if a budget has no room. Returns why, or ""."""
    if why := charges.renew(connection, submission_id, now_ms):
        submission_queue.move(
            connection,
            submission_id,
            by="limit",
            to="refused",
            reason=why,
            run_at_ms=now_ms,
            now_ms=now_ms,
        )
        refused = submission_queue.find(connection, submission_id)
        assert refused is not None, "it waits since a moment ago"
        event_log.append(
            connection,
            event_log.fact(
                upstream=refused.upstream,
                task_id=refused.parent_id,
                submission_id=submission_id,
                signal="budget.exceeded",
                source="internal",
                detail=f"{how}: {refused.kind} {refused.label}: {why}",
                now_ms=now_ms,
            ),
        )
    return why


def press_again(connection: Connection, submission_id: str, now_ms: int, *, by: str) -> bool:
    """Requeue one that was dropped before anything left, because a person asks for the same; False if that is not safe. A budget
    may refuse it."""
    locks.submissions(connection, [submission_id])
    statement, reason = sql_retries.PRESSED_AGAIN, "asked for again after it was dropped"
    return _requeue(connection, statement, [submission_id], now_ms, reason=reason, asked_by=by) == 1


def drop(connection: Connection, ids: Sequence[str], now_ms: int) -> int:
    """Discard dead submissions; returns their number."""
    return protocol.drop(connection, SUBMISSIONS, ids, now_ms)


def edit(connection: Connection, submission_id: str, request: bytes, now_ms: int) -> bool:
    """Requeue a dead or rejected submission with another request; False if that is not safe.

    It is safe if every attempt has ended, and none of them shows that the upstream took it: otherwise a task made by the first
    request would count as made by the second.
    """
    locks.submissions(connection, [submission_id])
    reason = "edited and retried by hand"
    return (
        _requeue(connection, sql_retries.EDIT, [submission_id], now_ms, reason=reason, request=request) == 1
    )


def was_answered(connection: Connection, submission_id: str) -> bool:
    """True if a submission is the answer to a modal that no longer needs one."""
    return sql_retries.ANSWERED.first(connection, id=submission_id) is not None
