"""The statements of the protocol of durable work: each one for deliveries, and for submissions.

`:before` and `:running` are states that storage/duty/states.py allows before the move to the state `:to`.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from storage.driver.statements import Command, Query

Row = TypeVar("Row")

# The ids find the rows. Without IS TRUE, SQLite would read all rows in a state by the index of states.
_IDS_IN_STATE = "id IN (:ids) AND (state IN (:before)) IS TRUE"
_IS_CURRENT = "id = :id AND attempts = :attempt"


def _claim(table: str, also: str) -> Command:
    return Command(
        f"""
        UPDATE {table}
        SET state = :to, worker = :worker, attempts = attempts + 1, updated_at_ms = :now_ms, {also}
        WHERE {_IDS_IN_STATE}
        """
    )


CLAIM_DELIVERIES = _claim("deliveries", "suspected = :suspected")
CLAIM_SUBMISSIONS = _claim("submissions", "started_at_ms = :now_ms, takes_place = TRUE")


def _finish(table: str, row: type[Row], excused: str, **also: str) -> Query[Row]:
    """The statement that ends many attempts at once; it returns the ids of those that were current. `also`: further columns that get a
    value, and their types."""
    return Query(
        f"""
        WITH ended (row_id, attempt, became, excuse, due_ms, {", ".join(f"new_{name}" for name in also)}) AS (
          VALUES (:id, :attempt, :to, :excused, :run_at_ms, {", ".join(f":{name}" for name in also)})
        )
        UPDATE {table}
        SET state = became, {excused} = {excused} + CAST(excuse AS INTEGER), run_at_ms = CAST(due_ms AS BIGINT),
          updated_at_ms = :now_ms, {", ".join(f"{name} = CAST(new_{name} AS {kind})" for name, kind in also.items())}
        FROM ended
        WHERE {table}.id = CAST(row_id AS {"BIGINT" if row is int else "TEXT"}) AND attempts = CAST(attempt AS INTEGER)
          AND state IN (:before)
        RETURNING id
        """,
        row,
    )


FINISH_DELIVERY = _finish(
    "deliveries",
    int,
    "excused",
    suspected="BOOLEAN",
    deaths="INTEGER",
    fired="BOOLEAN",
    decision="TEXT",
    error="TEXT",
)
FINISH_SUBMISSION = _finish("submissions", str, "forgiven", outcome="TEXT", reason="TEXT", task_ids="TEXT")


def _give_back(table: str, excused: str) -> Command:
    return Command(
        f"""
        UPDATE {table} SET state = :to, {excused} = {excused} + 1, updated_at_ms = :now_ms
        WHERE {_IS_CURRENT} AND state = :running
        """
    )


GIVE_BACK_DELIVERY = _give_back("deliveries", "excused")
GIVE_BACK_SUBMISSION = _give_back("submissions", "forgiven")


def retry_of(table: str, row: type[Row], also: str, conditions: str = "TRUE") -> Query[Row]:
    """The statement that requeues dead rows, if they meet the conditions, with all their attempts; it returns their ids."""
    return Query(
        f"""
        UPDATE {table}
        SET state = :to, forgiven = attempts, run_at_ms = :now_ms, updated_at_ms = :now_ms, {also}
        WHERE {_IDS_IN_STATE} AND {conditions}
        RETURNING id
        """,
        row,
    )


RETRY_DELIVERIES = retry_of("deliveries", int, "excused = 0, deaths = 0")
"""storage/submissions/sql_retries.py has those for submissions, with their conditions."""


def _drop(table: str, also: str) -> Command:
    return Command(
        f"UPDATE {table} SET state = :to, updated_at_ms = :now_ms, {also} WHERE {_IDS_IN_STATE}",
    )


DROP_DELIVERIES = _drop("deliveries", "decision = 'dropped by hand: ' || decision")
DROP_SUBMISSIONS = _drop("submissions", "reason = 'dropped by hand: ' || reason, outcome = 'dropped'")

# Attempts that a worker holds, or left behind.


class HeldDelivery(NamedTuple):
    """A delivery whose worker is gone, with what storage/deliveries/suspects.py needs."""

    id: int
    attempts: int
    worker: str
    updated_at_ms: int
    receiver: str
    suspected: bool
    deaths: int


class HeldSubmission(NamedTuple):
    """A submission whose worker is gone."""

    id: str
    attempts: int


class HeldRow(NamedTuple):
    """A row that a worker holds, and the number of its attempt."""

    id: int | str
    attempts: int


def _left(table: str, row: type[Row], columns: tuple[str, ...]) -> Query[Row]:
    return Query(
        f"""
        SELECT {", ".join(columns)} FROM {table}
        WHERE state = :running AND NOT EXISTS (
          SELECT 1 FROM leases
          WHERE leases.name = 'worker:' || {table}.worker
            AND (leases.until_ms BETWEEN :now_ms AND :latest_ms OR leases.until_ms >= :for_ever_ms)
        )
        ORDER BY id
        /*postgresql FOR UPDATE SKIP LOCKED */
        """,
        row,
    )


LEFT_DELIVERIES = _left("deliveries", HeldDelivery, HeldDelivery._fields)
LEFT_SUBMISSIONS = _left("submissions", HeldSubmission, HeldSubmission._fields)
"""Rows of workers that have no lease which is valid at `:now_ms`: one that ends by `:latest_ms`, or lasts `:for_ever_ms`."""


def _held_by(table: str) -> Query[HeldRow]:
    return Query(
        f"SELECT id, attempts FROM {table} WHERE state = :running AND worker = :worker AND updated_at_ms < :before_ms",
        HeldRow,
    )


DELIVERIES_OF_WORKER = _held_by("deliveries")
SUBMISSIONS_OF_WORKER = _held_by("submissions")
