"""The statements that find and delete what is old: events, tasks, and chains with all that belongs to them."""

from __future__ import annotations

from typing import NamedTuple

from storage.driver.statements import Command, Query

# Events.


class FollowingEvent(NamedTuple):
    """An event, and when its task ended."""

    id: int
    task_id: str
    submission_id: str
    signal: str | None
    source: str
    advanced: bool
    received_at_ms: int
    finished_at_ms: int | None


FOLLOWING_EVENTS = Query(
    """
    SELECT events.id, events.task_id, events.submission_id, events.signal, events.source, events.advanced, events.received_at_ms,
      tasks.finished_at_ms
    FROM events
    LEFT JOIN tasks ON tasks.upstream = events.upstream AND tasks.id = events.task_id
    WHERE events.id > :after
    ORDER BY events.id
    LIMIT :most
    """,
    FollowingEvent,
)
DROPPABLE = Query(
    """
    SELECT id FROM events
    WHERE id IN (:ids) AND NOT pending AND NOT EXISTS (
      SELECT 1 FROM deliveries
      WHERE deliveries.event_id = events.id AND (deliveries.state <> 'done' OR deliveries.fired)
    )
    """,
    int,
)
DONE_WITH = Query(
    """
    SELECT id FROM events
    WHERE id IN (:ids) AND NOT pending
      AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.event_id = events.id AND deliveries.state <> 'done')
    """,
    int,
)
DROP_DELIVERIES = Command("DELETE FROM deliveries WHERE event_id IN (:ids)")
DROP_EVENTS = Command("DELETE FROM events WHERE id IN (:ids)")

# Tasks without a chain.


class LooseTask(NamedTuple):
    """A task without a chain."""

    id: str
    upstream: str
    created_at_ms: int
    updated_at_ms: int
    submission_id: str | None


OLD_LOOSE_TASKS = Query(
    """
    SELECT id, upstream, created_at_ms, updated_at_ms, submission_id FROM tasks
    WHERE chain_id IS NULL AND created_at_ms < :before_ms AND (created_at_ms, id) > (:age_ms, :after)
    ORDER BY created_at_ms, id
    LIMIT :most
    """,
    LooseTask,
)
EVENTS_OF_TASK = Query(
    "SELECT id FROM events WHERE upstream = :upstream AND task_id = :task_id ORDER BY id LIMIT :most", int
)

# Ended chains.


class OldChain(NamedTuple):
    """A chain, and when it began."""

    id: str
    created_at_ms: int


OLD_CHAINS = Query(
    """
    SELECT id, created_at_ms FROM chains
    WHERE created_at_ms < :before_ms AND (created_at_ms, id) > (:age_ms, :after)
    ORDER BY created_at_ms, id
    LIMIT :most
    """,
    OldChain,
)
MOVED_TASK = Query(
    "SELECT id FROM tasks WHERE chain_id = :chain_id AND updated_at_ms >= :before_ms LIMIT 1", str
)
UNSETTLED_SUBMISSION = Query(
    """
    SELECT id FROM submissions
    WHERE chain_id = :chain_id AND (state NOT IN (:settled) OR updated_at_ms >= :before_ms)
    LIMIT 1
    """,
    str,
)

_EVENTS_OF_TASKS = """
    FROM events
    JOIN tasks ON tasks.upstream = events.upstream AND tasks.id = events.task_id AND tasks.chain_id = :chain_id
"""
# The first condition is written as in the partial index, so that it is used.
_EVENTS_OF_SUBMISSIONS = """
    FROM events
    JOIN submissions ON events.submission_id <> '' AND submissions.id = events.submission_id
      AND submissions.chain_id = :chain_id
"""
EVENTS_OF_TASKS = Query(f"SELECT events.id {_EVENTS_OF_TASKS} LIMIT :most", int)
EVENTS_OF_SUBMISSIONS = Query(f"SELECT events.id {_EVENTS_OF_SUBMISSIONS} LIMIT :most", int)

_UNDELIVERED = "JOIN deliveries ON deliveries.event_id = events.id AND deliveries.state <> 'done' LIMIT 1"
UNDELIVERED_OF_TASKS = Query(f"SELECT events.id {_EVENTS_OF_TASKS} {_UNDELIVERED}", int)
UNDELIVERED_OF_SUBMISSIONS = Query(f"SELECT events.id {_EVENTS_OF_SUBMISSIONS} {_UNDELIVERED}", int)
UNDELIVERED = Query("SELECT id FROM deliveries WHERE event_id IN (:ids) AND state <> 'done' LIMIT 1", int)


OPEN_TICKET = Query(
    """
    SELECT tickets.id FROM tickets
    JOIN submissions ON submissions.id = tickets.submission_id AND submissions.chain_id = :chain_id
    WHERE tickets.submission_id <> '' AND tickets.ended_at_ms IS NULL
    UNION ALL
    SELECT tickets.id FROM tickets
    JOIN tasks ON tasks.id = tickets.task_id AND tasks.upstream = tickets.upstream AND tasks.chain_id = :chain_id
    WHERE tickets.task_id <> '' AND tickets.ended_at_ms IS NULL
    UNION ALL
    SELECT tickets.id FROM tickets
    JOIN tasks ON tasks.id = tickets.parent_id AND tasks.upstream = tickets.upstream AND tasks.chain_id = :chain_id
    WHERE tickets.parent_id <> '' AND tickets.ended_at_ms IS NULL
    LIMIT 1
    """,
    str,
)
"""A ticket that has not ended, and shows a submission or a task of a chain, or is a window on one of its tasks."""
OPEN_TICKET_OF_TASK = Query(
    """
    SELECT id FROM tickets
    WHERE task_id = :task_id AND upstream = :upstream AND task_id <> '' AND ended_at_ms IS NULL
    UNION ALL
    SELECT id FROM tickets
    WHERE parent_id = :task_id AND upstream = :upstream AND parent_id <> '' AND ended_at_ms IS NULL
    LIMIT 1
    """,
    str,
)


class ChainTask(NamedTuple):
    """A task of a chain, and when it last moved."""

    upstream: str
    id: str
    updated_at_ms: int


HOLD_TASKS = Query(
    """
    SELECT upstream, id, updated_at_ms FROM tasks
    WHERE chain_id = :chain_id
    ORDER BY upstream, id
    LIMIT :most
    /*postgresql FOR UPDATE */
    """,
    ChainTask,
)


class ChainSubmission(NamedTuple):
    """A submission of a chain, and when it last moved."""

    id: str
    state: str
    updated_at_ms: int


SUBMISSIONS_OF_CHAIN = Query(
    """
    SELECT id, state, updated_at_ms FROM submissions
    WHERE chain_id = :chain_id
    ORDER BY id
    LIMIT :most
    /*postgresql FOR UPDATE */
    """,
    ChainSubmission,
)
DROP_TASK = Command("DELETE FROM tasks WHERE upstream = :upstream AND id = :task_id")
DROP_ALIASES = Command("DELETE FROM aliases WHERE upstream = :upstream AND task_id = :task_id")
DROP_JOINS = Command("DELETE FROM joins WHERE chain_id = :chain_id")
DROP_STORE = Command("DELETE FROM chain_stores WHERE chain_id = :chain_id")
DROP_FIRINGS = Command("DELETE FROM firings WHERE scope IN (:scopes)")
KEEP_KEYS = Command(
    """
    INSERT INTO spent (idempotency_key, submission_id)
    SELECT idempotency_key, id FROM submissions WHERE id IN (:ids)
    """
)
DROP_ATTEMPTS = Command("DELETE FROM attempts WHERE submission_id IN (:ids)")
DROP_SUBMISSIONS = Command("DELETE FROM submissions WHERE id IN (:ids)")
DROP_APPROVALS = Command("DELETE FROM approvals WHERE chain_id = :chain_id")
DROP_CHAIN = Command("DELETE FROM chains WHERE id = :chain_id")
