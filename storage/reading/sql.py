"""The statements that find rows: events, deliveries, chains, submissions and dead letters."""

from __future__ import annotations

from typing import NamedTuple

from storage.driver.decoder import columns_of
from storage.driver.statements import Query
from storage.records import Attempt, Delivery, Event, Submission, TaskRow

_EVENT = columns_of(Event)
_DELIVERY = columns_of(Delivery)
_TASK = columns_of(TaskRow)
_SUBMISSION = columns_of(Submission)

# Events.

EVENT = Query(f"SELECT {_EVENT} FROM events WHERE id = :id", Event)
NEWEST_EVENTS = Query(
    f"""
    SELECT {_EVENT} FROM events
    WHERE upstream = :upstream AND task_id = :task_id
    ORDER BY id DESC LIMIT :most
    """,
    Event,
)

# Deliveries.

DELIVERY = Query(f"SELECT {_DELIVERY} FROM deliveries WHERE id = :id", Delivery)
DELIVERIES_OF_EVENTS = Query(
    f"SELECT {_DELIVERY} FROM deliveries WHERE event_id IN (:event_ids) ORDER BY event_id, receiver", Delivery
)
FAILING_DELIVERIES = Query(
    f"""
    SELECT {_DELIVERY}
    FROM (
        SELECT {_DELIVERY} FROM deliveries
        WHERE state = 'waiting'
        ORDER BY run_at_ms DESC, id DESC LIMIT :looked_at
    ) AS last
    WHERE error <> ''
    ORDER BY run_at_ms DESC, id DESC LIMIT :most
    """,
    Delivery,
)

# Chains.

TASKS_OF_CHAINS = Query(
    f"SELECT {_TASK} FROM tasks WHERE chain_id IN (:chain_ids) ORDER BY created_at_ms, id", TaskRow
)
SUBMISSIONS_OF_CHAINS = Query(
    f"""
    SELECT {_SUBMISSION} FROM submissions
    WHERE chain_id IN (:chain_ids)
    ORDER BY created_at_ms, label, id
    """,
    Submission,
)

# Tasks and submissions.

# The names of all upstreams that have tasks are found with one step in the primary key for each.
UPSTREAMS_OF_TASK = Query(
    """
    WITH RECURSIVE known (name) AS (
        SELECT min(upstream) FROM tasks
        UNION ALL
        SELECT (SELECT min(tasks.upstream) FROM tasks WHERE tasks.upstream > known.name)
        FROM known WHERE known.name IS NOT NULL
    )
    SELECT known.name FROM known
    JOIN tasks ON tasks.upstream = known.name AND tasks.id = :task_id
    UNION
    SELECT known.name FROM known
    JOIN aliases ON aliases.upstream = known.name AND aliases.id = :task_id
    """,
    str,
)
SUBMISSIONS_OF_PARENT = Query(
    f"""
    SELECT {_SUBMISSION} FROM submissions
    WHERE parent_id = :parent_id AND upstream = :upstream
    ORDER BY created_at_ms, label
    """,
    Submission,
)
NEWEST_OF_PARENT = Query(
    f"""
    SELECT {_SUBMISSION} FROM submissions
    WHERE parent_id = :parent_id AND upstream = :upstream
    ORDER BY created_at_ms DESC, id DESC LIMIT :most
    """,
    Submission,
)
ANY_ACCEPTED = Query("SELECT id FROM submissions WHERE state = 'accepted' LIMIT 1", str)
ATTEMPTS = Query(
    f"SELECT {columns_of(Attempt)} FROM attempts WHERE submission_id = :submission_id ORDER BY number",
    Attempt,
)

# Dead letters.


class DeadDelivery(NamedTuple):
    """A dead delivery with its event."""

    delivery: Delivery
    event: Event | None


DEAD_DELIVERY = Query(
    f"""
    SELECT {columns_of(Delivery, "deliveries")}, {columns_of(Event, "events")}
    FROM deliveries LEFT JOIN events ON events.id = deliveries.event_id
    WHERE deliveries.id = :id AND deliveries.state = 'dead'
    """,
    DeadDelivery,
)
DEAD_SUBMISSION = Query(
    f"SELECT {_SUBMISSION} FROM submissions WHERE id = :id AND state = 'dead'", Submission
)
