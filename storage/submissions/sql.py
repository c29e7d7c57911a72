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
FOLLOWS = Query("SELECT follows FROM submissions WHERE id = :id", str)
WITH_KEY = Query(f"SELECT {_SUBMISSION} FROM submissions WHERE idempotency_key = :key", Submission)
WITH_KEYS = Query(f"SELECT {_SUBMISSION} FROM submissions WHERE idempotency_key IN (:keys)", Submission)
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


class Spent(NamedTuple):
    """An intent, and the submission that it had."""

    idempotency_key: str
    submission_id: str


SPENT_BY = Query(f"SELECT {columns_of(Spent)} FROM spent WHERE idempotency_key IN (:keys)", Spent)
SPENT = Query("SELECT submission_id FROM spent WHERE submission_id = :id LIMIT 1", str)

# Staging.


class Known(NamedTuple):
    """A submission that an intent has already."""

    id: str
    idempotency_key: str
    chain_id: str
    state: str
    outcome: str
    attempts: int
    priority: int
    run_at_ms: int
    asked_by: str
    terms: str | None
    thing: str


_KNOWN = f"SELECT {columns_of(Known)} FROM submissions"
KNOWN_BY_KEYS = Query(f"{_KNOWN} WHERE idempotency_key IN (:keys)", Known)
KNOWN_BY_THINGS = Query(
    f"{_KNOWN} WHERE chain_id IN (:chain_ids) AND thing IN (:things) AND thing <> ''", Known
)


class Use(NamedTuple):
    """How many submissions of a chain rules and plugins requested in all; how many one requester did that were not refused, and how
    many of these wait. `asked_by` is "" for a chain without submissions."""

    chain_id: str
    automatic: int
    asked_by: str
    asked_for: int
    waiting: int


USE_OF_CHAINS = Query(
    """
    SELECT chains.id, chains.automatic, coalesce(submissions.asked_by, ''),
      count(*) FILTER (WHERE submissions.state <> 'refused'), count(*) FILTER (WHERE submissions.state = 'waiting')
    FROM chains
    LEFT JOIN submissions ON submissions.chain_id = chains.id
    WHERE chains.id IN (:ids)
    GROUP BY chains.id, chains.automatic, submissions.asked_by
    """,
    Use,
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


class Made(NamedTuple):
    """A task that another client's press made, and the button that was pressed."""

    upstream: str
    parent_id: str
    made_by: str
    id: str


# In these states a task's button need not be pressed again.
MADE_ELSEWHERE = Query(
    f"""
    SELECT {columns_of(Made)} FROM tasks
    WHERE parent_id IN (:parent_ids) AND made_by <> '' AND submission_id IS NULL
      AND confirmed AND status IN ('SUBMITTED', 'IN_PROGRESS', 'SUCCESS')
    """,
    Made,
)
STAGE = Query(
    f"""
    INSERT INTO submissions
      ({columns_of(Submission)}, thing, client, "user", follows, charges, counted, terms, approval_id)
    VALUES ({parameters_of(Submission)}, :thing, :client, :user, :follows, :charges, :counted, :terms, :approval_id)
    ON CONFLICT DO NOTHING
    RETURNING id
    """,
    str,
)
"""The ids of the rows that it has inserted: the others have an intent, or a thing, that has its submission."""

COUNT_REPEAT = Command("UPDATE submissions SET repeats = repeats + 1 WHERE id = :id")

# The queue.

DUE = Query(
    f"""
    SELECT {_SUBMISSION} FROM submissions
    WHERE submissions.state = 'waiting' AND submissions.run_at_ms <= :now_ms
      AND submissions.upstream = :upstream AND (submissions.lane = '' OR NOT {lanes.TAKEN})
      AND (submissions.terms IS NULL OR (submissions.cleared_at_ms BETWEEN :cleared_since_ms AND :now_ms
        AND submissions.cleared_at_ms > coalesce(submissions.started_at_ms, 0)))
    ORDER BY submissions.queue_at_ms, submissions.label
    LIMIT :most
    /*postgresql FOR UPDATE OF submissions SKIP LOCKED */
    """,
    Submission,
)
ANY_DUE = Query("SELECT id FROM submissions WHERE state = 'waiting' AND run_at_ms <= :now_ms LIMIT 1", str)

SOONER = Command(
    """
    UPDATE submissions
    SET queue_at_ms = queue_at_ms - CASE WHEN run_at_ms > :run_at_ms THEN run_at_ms - :run_at_ms ELSE 0 END - :ahead_ms,
      run_at_ms = CASE WHEN run_at_ms > :run_at_ms THEN :run_at_ms ELSE run_at_ms END,
      priority = :priority, asked_by = :asked_by, terms = :terms, cleared_at_ms = NULL, updated_at_ms = :now_ms
    WHERE id = :id AND state = 'waiting' AND priority <= :priority AND attempts <= :most_attempts
    """
)
"""It keeps its place among those that are due at the same time."""

SET_DUE = Command("UPDATE submissions SET run_at_ms = :run_at_ms WHERE id = :id AND state = 'waiting'")

# Attempts.

BEGIN_ATTEMPT = Command(f"INSERT INTO attempts ({columns_of(Attempt)}) VALUES ({parameters_of(Attempt)})")
FINISH_ATTEMPTS = Query(
    f"""
    WITH ended (ended_id, ended_number, status, became, why, body) AS (
      VALUES (:submission_id, :number, :http_status, :outcome, :reason, :answer)
    )
    UPDATE attempts
    SET finished_at_ms = :now_ms, http_status = CAST(status AS INTEGER), outcome = CAST(became AS TEXT),
      reason = CAST(why AS TEXT), answer = body /*postgresql ::bytea */
    FROM ended
    WHERE submission_id = CAST(ended_id AS TEXT) AND number = CAST(ended_number AS INTEGER)
      AND outcome IN ('sending', '{INTERRUPTED}')
    RETURNING submission_id
    """,
    str,
)
"""The submissions whose attempts had not ended."""

# Submissions that a budget refused.

SET_ASKED_BY = Command("UPDATE submissions SET asked_by = :asked_by, terms = NULL WHERE id = :id")
SET_REQUEST = Command("UPDATE submissions SET request = :request WHERE id = :id")
SET_REFUSAL = Command(
    "UPDATE submissions SET reason = :reason, updated_at_ms = :now_ms WHERE id = :id AND state = 'refused'"
)

# Tasks that a submission made.


class Child(NamedTuple):
    """A task, and the submission that made or found it."""

    submission_id: str
    id: str
    created_at_ms: int


CHILDREN = Query(
    f"SELECT {columns_of(Child)} FROM tasks WHERE submission_id IN (:submission_ids) ORDER BY created_at_ms",
    Child,
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
