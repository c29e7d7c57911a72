"""The queue of submissions: finds them, begins attempts, moves them between states.

storage/submissions/staging.py adds them; storage/submissions/settlements.py ends their attempts. The attempt is on disk before its
request leaves ("sending"), so that a process that dies in between leaves a trace, and the submission is settled by evidence, never
by a blind second try.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from storage.duty import protocol
from storage.duty.duties import SUBMISSIONS
from storage.duty.states import SUBMISSION
from storage.records import MOVED, Submission, SubmissionState
from storage.submissions import lanes, scheduled, sql


def find(connection: Connection, submission_id: str) -> Submission | None:
    """One submission, or None."""
    return sql.SUBMISSION.first(connection, id=submission_id)


def follows(connection: Connection, submission_id: str) -> str:
    """The joins that a submission follows from: see storage/joins/follows.py."""
    return sql.FOLLOWS.first(connection, id=submission_id) or ""


def is_moved(connection: Connection, submission_id: str) -> bool:
    """True if a submission has ended because another account does its order."""
    found = find(connection, submission_id)
    return found is not None and found.state == "rejected" and found.outcome == MOVED


def is_spent(connection: Connection, submission_id: str) -> bool:
    """True if a submission was dropped with its chain."""
    return sql.SPENT.first(connection, id=submission_id) is not None


def is_any_due(connection: Connection, now_ms: int) -> bool:
    """True if any submission is due, at any upstream."""
    return sql.ANY_DUE.first(connection, now_ms=now_ms) is not None


def begin_attempts(
    connection: Connection, upstream: str, most: int, now_ms: int, *, worker: str = ""
) -> list[Submission]:
    """Claim up to `most` due submissions at this upstream for a worker; each has its attempt on disk after the commit."""
    held_since_ms = now_ms - lanes.HELD_MS
    begun = sql.DUE.all(
        connection,
        upstream=upstream,
        now_ms=now_ms,
        held_since_ms=held_since_ms,
        cleared_since_ms=now_ms - scheduled.CLEARED_MS,
        most=most,
    )
    if begun:
        ids = [submission.id for submission in begun]
        protocol.claim(connection, SUBMISSIONS, ids, worker=worker, now_ms=now_ms)
        begun = [
            msgspec.structs.replace(
                submission,
                state="sending",
                attempts=submission.attempts + 1,
                started_at_ms=now_ms,
                updated_at_ms=now_ms,
            )
            for submission in begun
        ]
        note_attempts(connection, begun, now_ms)
    return begun


def note_attempts(connection: Connection, begun: Sequence[Submission], now_ms: int) -> None:
    """Store the attempts of submissions that were claimed."""
    rows = [_sending(submission.id, submission.attempts, now_ms) for submission in begun]
    sql.BEGIN_ATTEMPT.all_at_once(connection, rows)


def _sending(submission_id: str, number: int, now_ms: int) -> dict[str, object]:
    return {
        "submission_id": submission_id,
        "number": number,
        "started_at_ms": now_ms,
        "finished_at_ms": None,
        "http_status": None,
        "outcome": "sending",
        "reason": "",
        "answer": b"",
    }


def move(
    connection: Connection,
    submission_id: str,
    *,
    by: str,
    to: SubmissionState,
    outcome: str = "",
    reason: str,
    run_at_ms: int,
    now_ms: int,
    attempts: int | None = None,
) -> bool:
    """Move a submission to another state, if the operation `by` may move it from its present one; True if it did.

    storage/duty/states.py defines the moves of each operation. With `attempts`, only if that is its number of attempts: evidence
    about one attempt says nothing about the next.
    """
    moved = sql.MOVE(
        connection,
        id=submission_id,
        before=SUBMISSION.before(by, to),
        attempts=attempts,
        state=to,
        outcome=outcome,
        reason=reason,
        run_at_ms=run_at_ms,
        now_ms=now_ms,
    )
    return moved == 1


def in_state(connection: Connection, state: SubmissionState, most: int = 100) -> list[Submission]:
    """Submissions in a state, those unchanged the longest first."""
    return sql.IN_STATE.all(connection, state=state, most=most)
