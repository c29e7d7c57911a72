"""The statements that count: for monitoring, for the rules page, and behind a stall."""

from __future__ import annotations

from typing import NamedTuple

from storage.driver.statements import Query
from storage.submissions import lanes

# Gauges.


class StateCount(NamedTuple):
    """The submissions of an upstream in a state."""

    upstream: str
    state: str
    how_many: int


# Answered by an index alone, which has both columns.
SUBMISSIONS_BY_STATE = Query(
    "SELECT upstream, state, count(*) FROM submissions GROUP BY state, upstream", StateCount
)


class DeliveryCount(NamedTuple):
    """The deliveries in a state."""

    state: str
    how_many: int


DELIVERIES_IN = Query(
    "SELECT state, count(*) FROM deliveries WHERE state IN (:states) GROUP BY state", DeliveryCount
)
COUNT_DELIVERIES = Query("SELECT count(*) FROM deliveries", int)


class WaitingEvents(NamedTuple):
    """Events that are not fanned out yet; `oldest_ms` is 0 if there are none."""

    how_many: int
    oldest_ms: int


WAITING_EVENTS = Query(
    "SELECT count(*), coalesce(min(received_at_ms), 0) FROM events WHERE pending /*sqlite = 1 */",
    WaitingEvents,
)
COUNT_QUARANTINE = Query("SELECT count(*) FROM quarantine", int)

# Deliveries by receiver.


class DoneCount(NamedTuple):
    """The done deliveries of a receiver, and those of them that fired."""

    receiver: str
    done: int
    fired: int


DONE_BY_RECEIVER = Query(
    """
    SELECT receiver, count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE state = 'done' AND fired)
    FROM deliveries
    WHERE id > (SELECT max(id) FROM deliveries) - :counted
    GROUP BY receiver
    HAVING count(*) FILTER (WHERE state = 'done') > 0
    """,
    DoneCount,
)


class UndoneCount(NamedTuple):
    """The deliveries of a receiver in a state, and those of them that failed before."""

    receiver: str
    state: str
    how_many: int
    failed: int


UNDONE_BY_RECEIVER = Query(
    """
    SELECT receiver, state, count(*), count(*) FILTER (WHERE error <> '')
    FROM deliveries
    WHERE state IN ('waiting', 'running', 'dead')
    GROUP BY receiver, state
    """,
    UndoneCount,
)

# The backlog of an upstream.


class ScheduledCount(NamedTuple):
    """The submissions of an upstream that are scheduled for a later time."""

    upstream: str
    how_many: int


class Due(NamedTuple):
    """The waiting submissions that are due, the first since `due_since_ms`; those of them that wait for their lane; and those that a
    clock in the future wrote."""

    due: int
    due_since_ms: int
    in_lane: int
    ahead: int


DUE = Query(
    f"""
    SELECT
      count(*) FILTER (WHERE waiting.run_at_ms <= :now_ms),
      coalesce(min(waiting.run_at_ms) FILTER (WHERE waiting.run_at_ms <= :now_ms), 0),
      count(*) FILTER (WHERE waiting.run_at_ms <= :now_ms AND waiting.in_lane),
      count(*) FILTER (WHERE waiting.run_at_ms > :now_ms)
    FROM (
        SELECT submissions.run_at_ms,
          CASE WHEN submissions.lane = '' THEN FALSE ELSE {lanes.TAKEN} END AS in_lane
        FROM submissions
        WHERE submissions.state = 'waiting' AND submissions.upstream = :upstream
          AND (submissions.run_at_ms <= :now_ms OR submissions.updated_at_ms > :impossible_from_ms)
        ORDER BY submissions.queue_at_ms LIMIT :counted
    ) AS waiting
    """,
    Due,
)
IN_LANES = Query(
    f"SELECT id FROM submissions WHERE id IN (:ids) AND state = 'waiting' AND lane <> '' AND {lanes.TAKEN}",
    str,
)
"""Those of these submissions that wait for their lane."""

COUNT_SCHEDULED = Query(
    """
    SELECT upstream, count(*) FROM submissions
    WHERE state = 'waiting' AND attempts = 0 AND run_at_ms > :now_ms
    GROUP BY upstream
    """,
    ScheduledCount,
)
"""By upstream: the waiting submissions whose time has not come."""

COUNT_UNCERTAIN = Query(
    "SELECT count(*) FROM submissions WHERE state = 'uncertain' AND takes_place AND upstream = :upstream", int
)


class Doubted(NamedTuple):
    """The deliveries that wait because their callbacks cannot be verified, the first since `doubted_since_ms`."""

    doubted: int
    doubted_since_ms: int


DOUBTED = Query(
    """
    SELECT count(*), coalesce(min(deliveries.created_at_ms), 0)
    FROM deliveries JOIN events ON events.id = deliveries.event_id
    WHERE deliveries.state = 'waiting' AND deliveries.excused > 0
      AND deliveries.decision LIKE 'waits: the callback cannot be verified%' AND events.upstream = :upstream
    """,
    Doubted,
)
