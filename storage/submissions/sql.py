"""The statements about submissions: their queue, their attempts, and the tasks that they made.

storage/submissions/sql_retries.py has those by which a person retries them, and sql_evidence.py those that compare them with what
an upstream shows.
"""

from __future__ import annotations

from typing import NamedTuple

from storage.driver.decoder import columns_of, parameters_of
from storage.driver.statements import Command, Query
from storage.records import INTERRUPTED, MODAL_LOST, Attempt, Submission
from storage.submissions import lanes

_SUBMISSION = columns_of(Submission, "submissions")

SUBMISSION = Query(f"SELECT {_SUBMISSION} FROM submissions WHERE id = :id", Submission)
IN_STATE = Query(
    f"SELECT {_SUBMISSION} FROM submissions WHERE state = :state ORDER BY updated_at_ms LIMIT :most",
    Submission,
)
MOVE = Command(
    """
    UPDATE submissions
    SET state = :state, outcome = :outcome, reason = :reason, run_at_ms = :run_at_ms, updated_at_ms = :now_ms
    WHERE id = :id AND state IN (:before)
      AND (CAST(:attempts AS INTEGER) IS NULL OR attempts = :attempts)
    """
)

# Submissions that were dropped with their chain.

SPENT_BY = Query("SELECT submission_id FROM spent WHERE idempotency_key IN (:keys)", str)
SPENT = Query("SELECT submission_id FROM spent WHERE submission_id = :id LIMIT 1", str)

# Staging.


class Known(NamedTuple):
    """A submission that an intent has already."""

    id: str
    idempotency_key: str
    chain_id: str
    state: str


_KNOWN = f"SELECT {columns_of(Known)} FROM submissions"
KNOWN_BY_KEYS = Query(f"{_KNOWN} WHERE idempotency_key IN (:keys)", Known)
KNOWN_BY_THING = Query(f"{_KNOWN} WHERE chain_id = :chain_id AND thing = :thing AND thing <> ''", Known)
COUNT_WAITING = Query(
    "SELECT count(*) FROM submissions WHERE chain_id = :chain_id AND state = 'waiting'", int
)
# By rules and plugins; the condition and the columns are those of a partial index. It counts 100,000 at most.
COUNT_AUTOMATIC = Query(
    """
    SELECT count(*) FROM (
        SELECT id FROM submissions
        WHERE upstream = :upstream AND created_at_ms > :since_ms
          AND substr(asked_by, 1, 7) <> 'person:' AND state <> 'refused'
        LIMIT 100000
    ) AS automatic
    """,
    int,
)
# In these states a task's button need not be pressed again.
MADE_ELSEWHERE = Query(
    """
    SELECT id FROM tasks
    WHERE parent_id = :parent_id AND upstream = :upstream AND made_by <> '' AND submission_id IS NULL
      AND made_by IN (:made_by) AND confirmed AND status IN ('SUBMITTED', 'IN_PROGRESS', 'SUCCESS')
    """,
    str,
)
STAGE = Command(
    f"""
    INSERT INTO submissions ({columns_of(Submission)}, thing, client, "user", charges, counted)
    VALUES ({parameters_of(Submission)}, :thing, :client, :user, :charges, :counted)
    ON CONFLICT DO NOTHING
    """
)
COUNT_REPEAT = Command("UPDATE submissions SET repeats = repeats + 1 WHERE id = :id")

# The queue.

DUE = Query(
    f"""
    SELECT {_SUBMISSION} FROM submissions
    WHERE submissions.state = 'waiting' AND submissions.run_at_ms <= :now_ms
      AND submissions.upstream = :upstream AND (submissions.lane = '' OR NOT {lanes.TAKEN})
    ORDER BY submissions.queue_at_ms, submissions.label
    LIMIT :most
    /*postgresql FOR UPDATE OF submissions SKIP LOCKED */
    """,
    Submission,
)
ANY_DUE = Query("SELECT id FROM submissions WHERE state = 'waiting' AND run_at_ms <= :now_ms LIMIT 1", str)

# Attempts.

BEGIN_ATTEMPT = Command(f"INSERT INTO attempts ({columns_of(Attempt)}) VALUES ({parameters_of(Attempt)})")
FINISH_ATTEMPT = Command(
    f"""
    UPDATE attempts
    SET finished_at_ms = :now_ms, http_status = :http_status, outcome = :outcome, reason = :reason, answer = :answer
    WHERE submission_id = :submission_id AND number = :number AND outcome IN ('sending', '{INTERRUPTED}')
    """
)

# Submissions that a budget refused.

SET_ASKED_BY = Command("UPDATE submissions SET asked_by = :asked_by WHERE id = :id")
SET_REQUEST = Command("UPDATE submissions SET request = :request WHERE id = :id")
SET_REFUSAL = Command(
    "UPDATE submissions SET reason = :reason, updated_at_ms = :now_ms WHERE id = :id AND state = 'refused'"
)

# Tasks that a submission made.

TASKS_SINCE = Query(
    """
    SELECT id FROM tasks
    WHERE submission_id = :submission_id AND created_at_ms >= :since_ms
    ORDER BY created_at_ms
    """,
    str,
)
TASKS_BUT_LOST_MODALS = Query(
    f"""
    SELECT id FROM tasks
    WHERE submission_id = :submission_id AND NOT EXISTS (
        SELECT 1 FROM submissions AS answer
        WHERE answer.parent_id = tasks.id AND answer.upstream = tasks.upstream
          AND answer.kind = 'modal' AND answer.outcome = '{MODAL_LOST}'
    )
    ORDER BY created_at_ms
    """,
    str,
)

# Modals.

LOST_ANSWER = Query(
    f"""
    SELECT {_SUBMISSION} FROM submissions
    JOIN tasks ON tasks.upstream = submissions.upstream AND tasks.id = submissions.parent_id
      AND tasks.submission_id = :action_id
    WHERE submissions.kind = 'modal' AND submissions.outcome = '{MODAL_LOST}'
    ORDER BY submissions.updated_at_ms DESC
    LIMIT 1
    """,
    Submission,
)
