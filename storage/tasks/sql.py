"""The statements about tasks, their aliases and their chains."""

from __future__ import annotations

from typing import NamedTuple

from storage.driver.decoder import columns_of, parameters_of
from storage.driver.statements import Command, Query
from storage.records import ChainRow, Payload, Submission, TaskRow

_TASK = columns_of(TaskRow)

TASKS = Query(f"SELECT {_TASK} FROM tasks WHERE upstream = :upstream AND id IN (:ids)", TaskRow)

TASKS_AS_ONE_VALUE = Query(
    f"SELECT json_group_array(json_array({_TASK})) FROM tasks WHERE upstream = :upstream AND id IN (:ids)",
    str,
)
"""All rows as one value: storage/driver/bulk.py explains what a row at a time costs with SQLite."""

HOLD_TASKS = Query(
    f"""
    SELECT {_TASK} FROM tasks
    WHERE upstream = :upstream AND id IN (:ids)
    ORDER BY id
    /*postgresql FOR UPDATE */
    """,
    TaskRow,
)
DROP_TASK = Command("DELETE FROM tasks WHERE upstream = :upstream AND id = :id")
ANY_TASK = Query("SELECT id FROM tasks WHERE upstream = :upstream LIMIT 1", str)
TASKS_OF_SUBMISSION = Query(
    "SELECT id FROM tasks WHERE upstream = :upstream AND submission_id = :submission_id", str
)

# Polls.

ASK_ABOUT = Command("UPDATE tasks SET ask_at_ms = :now_ms WHERE upstream = :upstream AND id IN (:ids)")
TO_ASK_ABOUT = Query(
    f"""
    SELECT {_TASK} FROM tasks
    WHERE upstream = :upstream AND ask_at_ms <= :now_ms
    ORDER BY submission_id IS NULL, ask_at_ms
    LIMIT :most
    """,
    TaskRow,
)
"""Tasks of our own submissions come first: thousands of ids that a sender invented must not delay them."""

SILENT_TASKS = Query(
    f"""
    SELECT {_TASK} FROM tasks
    WHERE upstream = :upstream AND finished_at_ms IS NULL AND updated_at_ms <= :silent_since_ms
    ORDER BY status <> '', coalesce(looked_at_ms, 0), updated_at_ms
    LIMIT :most
    """,
    TaskRow,
)
HANGING = Query(
    f"""
    SELECT {_TASK} FROM tasks
    WHERE upstream = :upstream AND finished_at_ms IS NULL
      AND updated_at_ms <= :silent_since_ms AND updated_at_ms > :heard_since_ms
      AND status <> 'MODAL' AND (confirmed OR submission_id IS NOT NULL)
      AND NOT EXISTS (
        SELECT 1 FROM events
        WHERE events.task_id = tasks.id AND events.upstream = tasks.upstream AND events.signal = :signal
      )
    ORDER BY updated_at_ms
    LIMIT :most
    """,
    TaskRow,
)
RECORD_LOOK = Command("UPDATE tasks SET looked_at_ms = :now_ms WHERE upstream = :upstream AND id IN (:ids)")
PUT_OFF_QUESTION = Command(
    """
    UPDATE tasks SET ask_at_ms = :again_ms
    WHERE upstream = :upstream AND id IN (:ids) AND ask_at_ms IS NOT NULL
    """
)

# Aliases.


class Alias(NamedTuple):
    """A task's other id."""

    id: str
    task_id: str


ALIASES = Query("SELECT id, task_id FROM aliases WHERE upstream = :upstream AND id IN (:ids)", Alias)
ADD_ALIAS = Command(
    """
    INSERT INTO aliases (upstream, id, task_id) VALUES (:upstream, :id, :task_id)
    ON CONFLICT (upstream, id) DO NOTHING
    """
)
SIGNALS_OF_TASK = Query(
    "SELECT signal FROM events WHERE upstream = :upstream AND task_id = :task_id AND signal IS NOT NULL", str
)
SILENCE = Command(
    """
    UPDATE events SET signal = NULL, pending = FALSE
    WHERE upstream = :upstream AND task_id = :alias AND pending /*sqlite = 1 */ AND signal IN (:given)
    """
)
MOVE_EVENTS = Command("UPDATE events SET task_id = :task_id WHERE upstream = :upstream AND task_id = :alias")

# Chains.

CHAIN = Query(f"SELECT {columns_of(ChainRow)} FROM chains WHERE id = :id", ChainRow)
CREATE_CHAIN = Command(f"INSERT INTO chains ({columns_of(ChainRow)}) VALUES ({parameters_of(ChainRow)})")
COUNT_SUBMISSIONS = Command(
    """
    WITH staged (chain_id, more, by_rules) AS (VALUES (:chain_id, :more, :by_rules))
    UPDATE chains
    SET submissions = submissions + CAST(more AS INTEGER), automatic = automatic + CAST(by_rules AS INTEGER)
    FROM staged
    WHERE chains.id = CAST(staged.chain_id AS TEXT)
    """
)
SET_ROOTS = Command(
    """
    WITH roots (chain_id, task_id) AS (VALUES (:chain_id, :task_id))
    UPDATE chains SET root_task_id = roots.task_id FROM roots
    WHERE chains.id = CAST(roots.chain_id AS TEXT) AND root_task_id = ''
    """
)
SET_PROMPT = Command("UPDATE chains SET prompt = :prompt WHERE id = :id AND root_task_id = ''")
SET_STATE = Command("UPDATE chains SET state = :state WHERE id = :id")


PLACE_IN_CHAINS = Command(
    """
    WITH placed (of_upstream, task_id, in_chain, below, parent) AS (
      VALUES (:upstream, :id, :chain_id, :depth, :parent_id)
    )
    UPDATE tasks SET chain_id = in_chain, depth = CAST(below AS INTEGER), parent_id = parent
    FROM placed
    WHERE tasks.upstream = CAST(of_upstream AS TEXT) AND tasks.id = CAST(task_id AS TEXT)
    """
)
COUNT_PENDING = Query(
    """
    SELECT count(*) FROM tasks
    JOIN events ON events.upstream = tasks.upstream AND events.task_id = tasks.id
    WHERE tasks.chain_id = :chain_id AND events.pending /*sqlite = 1 */
    """,
    int,
)
# As a filter: with a condition, SQLite would start from everything that is due in any chain.
COUNT_DUE = Query(
    """
    SELECT count(*) FILTER (WHERE deliveries.state IN ('waiting', 'running') AND deliveries.run_at_ms <= :now_ms)
    FROM tasks
    JOIN events ON events.upstream = tasks.upstream AND events.task_id = tasks.id
    JOIN deliveries ON deliveries.event_id = events.id
    WHERE tasks.chain_id = :chain_id
    """,
    int,
)

# What callbacks claimed, and what the upstream shows.

CLAIMED_BY = Query(
    """
    SELECT DISTINCT submission_id FROM events
    WHERE upstream = :upstream AND task_id = :task_id AND submission_id <> ''
    """,
    str,
)
UNSETTLED = Query(
    f"""
    SELECT {columns_of(Submission)} FROM submissions
    WHERE upstream = :upstream AND attempts > 0 AND state IN (:open_states)
      AND (started_at_ms IS NULL OR started_at_ms > :since_ms)
    """,
    Submission,
)
REFUTE_CLAIMS = Command(
    """
    UPDATE events SET provenance = 'refuted', advanced = FALSE, pending = FALSE,
      detail = 'it arrived on the hook of a submission that did not make this task'
    WHERE upstream = :upstream AND task_id = :task_id AND source = 'callback'
      AND EXISTS (SELECT 1 FROM submissions WHERE submissions.id = events.submission_id)
    """
)
VALID_EVENT = Query(
    """
    SELECT id FROM events
    WHERE upstream = :upstream AND task_id = :task_id AND provenance <> 'refuted'
    LIMIT 1
    """,
    int,
)


class Shown(NamedTuple):
    """A submission, and a payload of the task that it made."""

    submission_id: str
    payload: Payload


# `chain_id` is set in all tasks of ours; it is compared as in the index, so that the index is used.
NEWEST_OF_OURS = Query(
    """
    SELECT tasks.submission_id, events.payload
    FROM tasks
    JOIN events ON events.upstream = tasks.upstream AND events.task_id = tasks.id
      AND events.advanced /*sqlite = 1 */
    WHERE tasks.upstream = :upstream AND tasks.submission_id IS NOT NULL AND tasks.chain_id IS NOT NULL
    ORDER BY tasks.created_at_ms DESC
    LIMIT :most
    """,
    Shown,
)

# Unverified callbacks.

_BY_CALLBACK = "upstream = :upstream AND task_id = :task_id AND provenance = 'callback'"


class CallbackRow(NamedTuple):
    """A callback that the upstream has neither confirmed nor refuted."""

    id: int
    payload: Payload
    action: str


NEWEST_UNVERIFIED = Query(
    f"""
    SELECT id, payload, action FROM events
    WHERE {_BY_CALLBACK} AND advanced /*sqlite = 1 */ AND status = :status
    ORDER BY id DESC LIMIT 1
    """,
    CallbackRow,
)
CONFIRM = Command("UPDATE events SET provenance = 'confirmed', advanced = :is_shown WHERE id = :id")
_REFUTED = "provenance = 'refuted', advanced = FALSE, pending = FALSE"
REFUTE_STATUS = Command(f"UPDATE events SET {_REFUTED} WHERE {_BY_CALLBACK} AND status = :status")
REFUTE = Command(f"UPDATE events SET {_REFUTED} WHERE id = :id AND provenance <> 'refuted'")

# Signals that were given.

_GIVEN = "SELECT id FROM events WHERE upstream = :upstream AND task_id = :task_id AND signal = :signal"
GIVEN = Query(f"{_GIVEN} AND provenance <> 'refuted' LIMIT 1", int)
GIVEN_FALSELY = Query(f"{_GIVEN} AND provenance = 'refuted' LIMIT 1", int)
END_REPORTED_AT = Query(
    """
    SELECT received_at_ms FROM events
    WHERE upstream = :upstream AND task_id = :task_id AND source = 'callback' AND status IN (:ends)
      AND received_at_ms > :since_ms
    ORDER BY id DESC LIMIT 1
    """,
    int,
)
