"""Submissions that wait: they go at once, earlier, or after all, because somebody asks for them now.

storage/tickets/withdrawing.py drops them. Each statement names the state "waiting", so that of a drop, a change and the claim of a
worker exactly one wins: the others find the row in another state.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection

from storage.driver import locks
from storage.events import event_log
from storage.records import BY_HAND, Staged, StageResult
from storage.submissions import dead_submissions, sql
from storage.submissions.submission_queue import find


def send_now(connection: Connection, submission_id: str, now_ms: int) -> bool:
    """Make a submission due at once, whatever it waits for; False if it does not wait. Pauses, limits and lanes still hold it back.

    A person wants it, so that whoever scheduled it is not asked again.
    """
    locks.submissions(connection, [submission_id])
    waiting = find(connection, submission_id)
    if waiting is None or not sql.SOONER(
        connection,
        id=submission_id,
        run_at_ms=now_ms,
        ahead_ms=0,
        priority=waiting.priority,
        asked_by=waiting.asked_by,
        terms=None,
        most_attempts=waiting.attempts,
        now_ms=now_ms,
    ):
        return False
    until = datetime.fromtimestamp(waiting.run_at_ms / 1000, UTC).isoformat(timespec="seconds")
    event_log.append(
        connection,
        event_log.fact(
            upstream=waiting.upstream,
            task_id=waiting.parent_id,
            submission_id=submission_id,
            source="internal",
            signal=None,
            status="waiting",
            detail=f"{waiting.kind} {waiting.label} by {waiting.asked_by}: sent now by hand, not at {until}",
            now_ms=now_ms,
        ),
    )
    return True


def ask_again(
    connection: Connection, staged: Staged, known: sql.Known, now_ms: int, *, priority_ms: int
) -> tuple[bool, StageResult | None]:
    """What a second request for the same intent changes about the submission that it has: True if anything, and the result if it is sent
    after all.

    One that waits takes the earlier of the two times, unless it has been tried, with the terms of whoever asked for that time, and the
    higher of the two priorities. What a person asks for has no terms, and is the person's from then on. One that was dropped is sent after all if a person asks for it, and never because a rule or a plugin does.
    """
    run_at_ms = staged.run_at_ms(now_ms)
    if known.state == "waiting":
        # One that is tried again keeps its time: the upstream has asked for the pause.
        wanted_ms = run_at_ms if known.attempts == 0 else max(run_at_ms, known.run_at_ms)
        return _bring_forward(connection, staged, known, wanted_ms, now_ms, priority_ms), None
    if known.outcome != "dropped" or not staged.is_by_hand:
        return False, None
    if not dead_submissions.press_again(connection, known.id, now_ms, by=staged.asked_by):
        return False, None
    sql.SET_DUE(connection, id=known.id, run_at_ms=run_at_ms)
    again = find(connection, known.id)
    assert again is not None, "it was requeued a moment ago"
    refused = again.reason if again.state == "refused" else ""
    return True, StageResult(
        submission_id=known.id,
        chain_id=known.chain_id,
        created=False,
        refused=refused,
        released=not refused,
    )


def asked_before(staged: Staged, known: sql.Known, now_ms: int) -> str:
    """Who else has asked for the same, and whose terms hold: time, `unless`, mode, approval; "" if it was the same receiver or person."""
    if known.asked_by == staged.asked_by:
        return ""
    who = f"{staged.label}: already asked for by {known.asked_by}"
    if known.state == "refused":
        return f"{who}, and refused"
    if known.outcome == "dropped":
        return f"{who}, and dropped"
    if known.state == "waiting" and known.attempts == 0 and staged.run_at_ms(now_ms) < known.run_at_ms:
        return f"{who}; it is sent at the earlier time, which is this one's"
    return f"{who}, whose terms hold"


def _bring_forward(
    connection: Connection, staged: Staged, known: sql.Known, run_at_ms: int, now_ms: int, priority_ms: int
) -> bool:
    priority = max(known.priority, staged.priority)
    is_earlier = run_at_ms < known.run_at_ms
    is_taken_over = staged.is_by_hand and not known.asked_by.startswith(BY_HAND)
    if not is_earlier and not is_taken_over and priority == known.priority:
        return False
    terms = (staged.terms or None) if is_earlier else known.terms
    changed: int = sql.SOONER(
        connection,
        id=known.id,
        run_at_ms=run_at_ms,
        ahead_ms=priority_ms * (priority - known.priority),
        priority=priority,
        asked_by=staged.asked_by if is_taken_over else known.asked_by,
        terms=None if staged.is_by_hand else terms,
        most_attempts=known.attempts,
        now_ms=now_ms,
    )
    return changed > 0
