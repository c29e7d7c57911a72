"""The statements about what became of submissions: the uncertain ones, what proves them, and those that a restored copy lacks."""

from __future__ import annotations

from typing import NamedTuple

from storage.driver.decoder import columns_of
from storage.driver.statements import Command, Query
from storage.records import INTERRUPTED, MODAL_LOST, Submission, Uncertain

# Uncertain submissions.


class Placed(NamedTuple):
    """A submission and its upstream."""

    id: str
    upstream: str


# Only columns before `request`: SQLite reads a whole image to find the columns behind it.
UNCERTAIN = Query(
    "SELECT id, upstream FROM submissions WHERE state = 'uncertain' ORDER BY run_at_ms LIMIT :most", Placed
)
# b"" instead of a request that may hold an image.
_REQUEST = "CASE WHEN submissions.kind IN (:presses) THEN submissions.request ELSE /*sqlite x*/'' END"
_WITHOUT_IMAGE = columns_of(Submission, "submissions").replace("submissions.request", _REQUEST)

UNCERTAIN_AMONG = Query(
    f"""
    SELECT {_WITHOUT_IMAGE}, (
      SELECT count(*) FROM attempts
      WHERE attempts.submission_id = submissions.id AND attempts.outcome IN ('uncertain', '{INTERRUPTED}')
    )
    FROM submissions WHERE submissions.id IN (:ids) AND submissions.state = 'uncertain'
    """,
    Uncertain,
)


class MadeTask(NamedTuple):
    """A task of ours, and one attempt of the submission that made it."""

    id: str
    submission_id: str
    status: str
    created_at_ms: int
    kind: str
    outcome: str
    began_ms: int
    took_ms: int | None


# `chain_id` is set in all tasks of ours; it is compared as in the index, so that the index is used.
NEWEST_MADE = Query(
    """
    SELECT newest.id, newest.submission_id, newest.status, newest.created_at_ms,
      submissions.kind, attempts.outcome, attempts.started_at_ms,
      attempts.finished_at_ms - attempts.started_at_ms
    FROM (
      SELECT id, submission_id, status, created_at_ms FROM tasks
      WHERE upstream = :upstream AND submission_id IS NOT NULL AND chain_id IS NOT NULL
      ORDER BY created_at_ms DESC
      LIMIT :most
    ) AS newest
    JOIN submissions ON submissions.id = newest.submission_id
    JOIN attempts ON attempts.submission_id = submissions.id
    WHERE attempts.outcome IN (:outcomes)
    """,
    MadeTask,
)
OURS_AMONG = Query("SELECT id FROM submissions WHERE upstream = :upstream AND id IN (:ids)", str)

# The places that they occupy.


class Holder(NamedTuple):
    """An uncertain submission that counts as a job; `updated_at_ms` is when it became uncertain."""

    id: str
    upstream: str
    updated_at_ms: int


_TAKES_PLACE = "state = 'uncertain' AND takes_place"

HOLDERS = Query(f"SELECT {columns_of(Holder)} FROM submissions WHERE {_TAKES_PLACE} LIMIT 10000", Holder)
FREE = Command(f"UPDATE submissions SET takes_place = FALSE WHERE id IN (:ids) AND {_TAKES_PLACE}")
# Through their submissions, which have an index by upstream and age.
LONGEST_MS = Query(
    """
    SELECT max(took_ms) FROM (
      SELECT tasks.finished_at_ms - tasks.created_at_ms AS took_ms
      FROM submissions JOIN tasks ON tasks.submission_id = submissions.id
      WHERE submissions.upstream = :upstream AND tasks.finished_at_ms IS NOT NULL
        AND tasks.status IN ('SUCCESS', 'FAILURE')
      ORDER BY submissions.created_at_ms DESC
      LIMIT :most
    ) AS ended
    """,
    int,
)

# Proof.

# Among waiting ones only those that were sent before; not those whose modal was lost, because they are repeated on purpose.
PROVE = Command(
    f"""
    UPDATE submissions
    SET state = 'accepted', outcome = 'accepted', reason = :reason, task_ids = :task_ids, updated_at_ms = :now_ms
    WHERE id = :submission_id AND state IN (:before)
      AND (state <> 'waiting' OR (attempts > 0 AND outcome <> '{MODAL_LOST}'))
    """
)
SET_TASKS = Command("UPDATE submissions SET task_ids = :task_ids WHERE id = :submission_id")

# Adoption.

SPENT = Query("SELECT submission_id FROM spent WHERE submission_id IN (:marks)", str)
OF_KEY = Query("SELECT id FROM submissions WHERE idempotency_key = :key", str)
ADOPT = Command(
    """
    INSERT INTO submissions (
      id, idempotency_key, chain_id, upstream, kind, label, request, parent_id, depth, asked_by,
      lane, priority, queue_at_ms, state, outcome, reason, task_ids, attempts, forgiven, repeats,
      run_at_ms, started_at_ms, created_at_ms, updated_at_ms, thing, client, "user"
    ) VALUES (
      :mark, :idempotency_key, :chain_id, :upstream, :kind, :label, :request, :parent_id, :depth, :asked_by,
      :lane, :priority, :sent_at_ms, :state, :state, :reason, :task_ids, 1, 0, 0,
      :sent_at_ms, :sent_at_ms, :sent_at_ms, :sent_at_ms, :thing, :client, :user
    )
    ON CONFLICT DO NOTHING
    """
)
RECOGNISE = Command(
    """
    UPDATE submissions
    SET idempotency_key = :idempotency_key, chain_id = :chain_id, kind = :kind, label = :label, request = :request,
      parent_id = :parent_id, depth = :depth, asked_by = :asked_by, repeats = repeats + 1
    WHERE id = :submission_id
    """
)
PLACE_TASKS = Command(
    """
    UPDATE tasks SET chain_id = :chain_id, parent_id = :parent_id, depth = :depth
    WHERE upstream = :upstream AND submission_id = :submission_id
    """
)
