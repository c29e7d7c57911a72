"""The statements about approvals, and about the submissions that they hold."""

from __future__ import annotations

from storage.driver.decoder import columns_of, parameters_of
from storage.driver.statements import Command, Query
from storage.records import Approval, Submission

_APPROVAL = columns_of(Approval, "approvals")

OPEN = Command(f"INSERT INTO approvals ({columns_of(Approval)}) VALUES ({parameters_of(Approval)})")
APPROVAL = Query(f"SELECT {_APPROVAL} FROM approvals WHERE id = :id", Approval)
OF_FIRING = Query(
    f"SELECT {_APPROVAL} FROM approvals WHERE event_id = :event_id AND asked_by = :asked_by", Approval
)
OF_SUBMISSION = Query(
    f"""
    SELECT {_APPROVAL} FROM approvals
    JOIN submissions ON submissions.id = :submission_id AND submissions.approval_id = approvals.id
    """,
    Approval,
)
OF_CHAIN = Query(
    f"SELECT {_APPROVAL} FROM approvals WHERE chain_id = :chain_id ORDER BY asked_at_ms, id", Approval
)
OF_TASK = Query(
    f"""
    SELECT {_APPROVAL} FROM approvals
    WHERE chain_id = :chain_id AND upstream = :upstream AND task_id = :task_id
    ORDER BY asked_at_ms, id
    """,
    Approval,
)
EXPIRED = Query(
    """
    SELECT id FROM approvals
    WHERE state = 'open' AND expires_at_ms <= :now_ms
    ORDER BY expires_at_ms, id
    LIMIT :most
    """,
    str,
)
COUNT_OPEN = Query("SELECT count(*) FROM approvals WHERE state = 'open'", int)

HELD = Query(
    "SELECT id FROM submissions WHERE approval_id = :approval_id AND approval_id <> '' AND state = 'held' ORDER BY id",
    str,
)
SUBMISSIONS = Query(
    f"""
    SELECT {columns_of(Submission, "submissions")} FROM submissions
    WHERE approval_id = :approval_id AND approval_id <> ''
    ORDER BY created_at_ms, label, id
    """,
    Submission,
)

_DECIDE = """
    UPDATE approvals
    SET state = :state, decided_at_ms = :now_ms, decided_by = :by, decided_from = :source
    WHERE id = :id AND state = 'open'
"""
DECIDE = Command(_DECIDE)
"""Only the first of several decisions changes the row."""
DECIDE_IF_EMPTY = Command(
    f"""
    {_DECIDE} AND NOT EXISTS (
        SELECT 1 FROM submissions
        WHERE submissions.approval_id = :id AND submissions.approval_id <> '' AND submissions.state = 'held'
    )
    """
)
# As storage/submissions/intents.py has it for what is staged: the button is named by its customId, or by its label.
PRESSED_ELSEWHERE = Query(
    """
    SELECT tasks.id FROM submissions
    JOIN tasks ON tasks.parent_id = submissions.parent_id AND tasks.upstream = submissions.upstream
    WHERE submissions.id = :id AND submissions.kind IN ('action', 'change', 'simple_change')
      AND submissions.idempotency_key LIKE '%|0' AND submissions.parent_id <> ''
      AND tasks.made_by <> '' AND tasks.submission_id IS NULL AND tasks.confirmed
      AND tasks.status IN ('SUBMITTED', 'IN_PROGRESS', 'SUCCESS')
      AND (tasks.made_by = submissions.label
        OR substr(submissions.thing, 1, length(tasks.made_by) + 1) = tasks.made_by || '|')
    ORDER BY tasks.created_at_ms
    LIMIT 1
    """,
    str,
)
SET_TASKS = Command("UPDATE submissions SET task_ids = :task_ids WHERE id = :id")
QUEUE_AGAIN = Command(
    "UPDATE submissions SET queue_at_ms = queue_at_ms + (:now_ms - created_at_ms) WHERE id = :id"
)
"""As if it had been staged now, so that it goes behind what came in the meantime."""
