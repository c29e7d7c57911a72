"""The statements about budgets: the counters, and the charges of submissions."""

from __future__ import annotations

from typing import NamedTuple

from storage.driver.decoder import columns_of
from storage.driver.statements import Command, Query
from storage.records import Used
from storage.submissions.modal_answers import made_another_task

# Counters.

_ONE = "budget = :budget AND scope = :scope AND period = :period"


class Counted(NamedTuple):
    """What one budget has counted, for one scope and period."""

    submissions: int
    spent_micros: int


# It changes no row if a limit would be exceeded; the first charge of a period is checked by the caller.
TAKE = Command(
    """
    INSERT INTO budgets (budget, scope, period, ends_at_ms, submissions, spent_micros)
    VALUES (:budget, :scope, :period, :ends_at_ms, 1, :micros)
    ON CONFLICT (budget, scope, period) DO UPDATE
    SET submissions = budgets.submissions + 1, spent_micros = budgets.spent_micros + excluded.spent_micros
    WHERE budgets.submissions < :most_submissions
      AND budgets.spent_micros + excluded.spent_micros <= :most_micros
    """
)
MOVE = Command(
    f"""
    UPDATE budgets SET submissions = submissions + :submissions, spent_micros = spent_micros + :micros
    WHERE {_ONE}
    """
)
COUNTED = Query(f"SELECT submissions, spent_micros FROM budgets WHERE {_ONE}", Counted)
USED = Query(f"SELECT {columns_of(Used)} FROM budgets WHERE ends_at_ms > :now_ms", Used)
DROP_ENDED = Command("DELETE FROM budgets WHERE ends_at_ms < :before_ms")

# The charges of submissions.


class Charged(NamedTuple):
    """A submission's charges as JSON, whether they are in effect, and what decides that."""

    state: str
    charges: str
    counted: bool
    has_failed: bool


# A task that the upstream confirmed to have ended without being paid for. A lost task may have to be paid.
_UNPAID = "tasks.confirmed AND tasks.status IN ('FAILURE', 'CANCEL')"

CHARGED = Query(
    f"""
    SELECT state, charges, counted, (
      EXISTS (SELECT 1 FROM tasks WHERE tasks.submission_id = submissions.id AND {_UNPAID})
      OR (
        submissions.kind = 'modal'
        AND EXISTS (
          SELECT 1 FROM tasks
          WHERE tasks.upstream = submissions.upstream AND tasks.id = submissions.parent_id AND {_UNPAID}
        )
        AND NOT {made_another_task("submissions")}
      )
    )
    FROM submissions WHERE id = :submission_id
    """,
    Charged,
)
SWITCH = Command(
    "UPDATE submissions SET counted = :counted WHERE id = :submission_id AND counted <> :counted"
)
CHARGE = Command("UPDATE submissions SET charges = :charges, counted = :counted WHERE id = :submission_id")


class Billed(NamedTuple):
    """What a submission's bill is made from, and whether it is charged already."""

    upstream: str
    kind: str
    request: bytes
    asked_by: str
    chain_id: str
    client: str
    counted: bool


BILLED = Query(f"SELECT {columns_of(Billed)} FROM submissions WHERE id = :submission_id", Billed)
PAYERS = Query(
    """
    SELECT submissions.id FROM submissions
    JOIN tasks ON tasks.submission_id = submissions.id
    WHERE tasks.upstream = :upstream AND tasks.id = :task_id
    UNION ALL
    SELECT id FROM submissions
    WHERE parent_id = :task_id AND upstream = :upstream AND kind = 'modal' AND charges <> ''
    """,
    str,
)
