"""The statements about values of the database, its traffic, and the times that are moved when somebody sets the clock."""

from __future__ import annotations

from typing import NamedTuple

from storage.driver.statements import Command, Query

# Values of the database.


class Stored(NamedTuple):
    """A value, and its key."""

    key: str
    value: str


VALUE = Query("SELECT value FROM meta WHERE key = :key", str)
_ADD = "INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO"
ADD_VALUE = Command(f"{_ADD} NOTHING")
PUT_VALUE = Command(f"{_ADD} UPDATE SET value = excluded.value")
FORGET_VALUE = Command("DELETE FROM meta WHERE key = :key")
# A CASE, because PostgreSQL may evaluate two conditions in either order, and other values are not numbers.
FORGET_ENDED = Command(
    "DELETE FROM meta WHERE CASE WHEN key LIKE 'ended:%' THEN CAST(value AS BIGINT) END < :now_ms"
)
MEETINGS = Query("SELECT key, value FROM meta WHERE key LIKE 'met:%' OR key LIKE 'history:%'", Stored)

# Traffic.

ADD_TRAFFIC = Command(
    """
    INSERT INTO traffic (minute_ms, series, happened, total_us, slowest_us)
    VALUES (:minute_ms, :series, :happened, :total_us, :slowest_us)
    ON CONFLICT (minute_ms, series) DO UPDATE SET
      happened = traffic.happened + excluded.happened,
      total_us = traffic.total_us + excluded.total_us,
      slowest_us = CASE
        WHEN excluded.slowest_us > traffic.slowest_us THEN excluded.slowest_us ELSE traffic.slowest_us
      END
    """
)


class Step(NamedTuple):
    """The figures of one series in the step that began at `at_ms`; times in microseconds."""

    series: str
    at_ms: int
    happened: int
    total_us: int
    slowest_us: int


TRAFFIC_IN_STEPS = Query(
    """
    SELECT series, minute_ms - minute_ms % :step_ms AS at_ms,
      CAST(sum(happened) AS BIGINT), CAST(sum(total_us) AS BIGINT), max(slowest_us)
    FROM traffic
    WHERE minute_ms >= :since_ms AND minute_ms < :until_ms
    GROUP BY series, at_ms
    """,
    Step,
)
DROP_TRAFFIC = Command(
    """
    DELETE FROM traffic
    WHERE minute_ms < :before_ms AND minute_ms < (SELECT min(minute_ms) FROM traffic) + :span_ms
    """
)

# When somebody sets the clock: the times of unfinished work move by `by_ms`. NULL stays NULL.

_OPEN_SUBMISSIONS = "state IN (:open_submissions)"
_OPEN_DELIVERIES = "state IN (:open_deliveries)"
_OPEN_TASKS = "finished_at_ms IS NULL"
_TASKS_TO_ASK_ABOUT = "ask_at_ms IS NOT NULL"

SHIFT_ATTEMPTS = Command(
    f"""
    UPDATE attempts SET started_at_ms = started_at_ms + :by_ms, finished_at_ms = finished_at_ms + :by_ms
    WHERE submission_id IN (SELECT id FROM submissions WHERE {_OPEN_SUBMISSIONS})
    """
)
SHIFT_SUBMISSIONS = Command(
    f"""
    UPDATE submissions SET
      run_at_ms = run_at_ms + :by_ms,
      queue_at_ms = queue_at_ms + :by_ms,
      started_at_ms = started_at_ms + :by_ms,
      created_at_ms = created_at_ms + :by_ms,
      updated_at_ms = updated_at_ms + :by_ms
    WHERE {_OPEN_SUBMISSIONS} OR created_at_ms > :since_ms OR updated_at_ms > :since_ms
    """
)
SHIFT_DELIVERIES = Command(
    f"""
    UPDATE deliveries SET
      run_at_ms = run_at_ms + :by_ms,
      created_at_ms = created_at_ms + :by_ms,
      updated_at_ms = updated_at_ms + :by_ms
    WHERE {_OPEN_DELIVERIES}
    """
)
SHIFT_TASKS = Command(
    f"""
    UPDATE tasks SET
      looked_at_ms = looked_at_ms + :by_ms,
      ask_at_ms = ask_at_ms + :by_ms,
      created_at_ms = created_at_ms + :by_ms,
      updated_at_ms = updated_at_ms + :by_ms,
      finished_at_ms = finished_at_ms + :by_ms
    WHERE {_OPEN_TASKS} OR {_TASKS_TO_ASK_ABOUT}
    """
)
SHIFT_EVENTS = Command(
    "UPDATE events SET received_at_ms = received_at_ms + :by_ms WHERE pending /*sqlite = 1 */"
)
SHIFT_UPSTREAMS = Command(
    """
    UPDATE upstreams SET
      left_at_ms = coalesce(nullif(left_at_ms, 0) + :by_ms, 0),
      held_until_ms = coalesce(nullif(held_until_ms, 0) + :by_ms, 0),
      open_until_ms = coalesce(nullif(open_until_ms, 0) + :by_ms, 0),
      rate_paid_until_us = coalesce(nullif(rate_paid_until_us, 0) + CAST(:by_ms AS BIGINT) * 1000, 0)
    """
)
"""0 means never, and stays 0."""

SHIFT_APPROVALS = Command(
    """
    UPDATE approvals SET asked_at_ms = asked_at_ms + :by_ms, expires_at_ms = expires_at_ms + :by_ms
    WHERE state = 'open'
    """
)

# Times that another clock wrote. The two conditions for tasks are two statements, because each has an index.

_LATE_MS = "(updated_at_ms - :now_ms)"
_IMPOSSIBLE = "updated_at_ms > :latest_ms"

MEND_SUBMISSIONS = Command(
    f"""
    UPDATE submissions SET
      run_at_ms = run_at_ms - {_LATE_MS},
      queue_at_ms = queue_at_ms - {_LATE_MS},
      started_at_ms = started_at_ms - {_LATE_MS},
      created_at_ms = created_at_ms - {_LATE_MS},
      updated_at_ms = updated_at_ms - {_LATE_MS}
    WHERE {_OPEN_SUBMISSIONS} AND {_IMPOSSIBLE}
    """
)
MEND_DELIVERIES = Command(
    f"""
    UPDATE deliveries SET
      run_at_ms = run_at_ms - {_LATE_MS},
      created_at_ms = created_at_ms - {_LATE_MS},
      updated_at_ms = updated_at_ms - {_LATE_MS}
    WHERE {_OPEN_DELIVERIES} AND {_IMPOSSIBLE}
    """
)
MEND_APPROVALS = Command(
    """
    UPDATE approvals SET expires_at_ms = expires_at_ms - (asked_at_ms - :now_ms), asked_at_ms = :now_ms
    WHERE state = 'open' AND asked_at_ms > :latest_ms
    """
)
_MENDED_TASK = f"""
    looked_at_ms = looked_at_ms - {_LATE_MS},
    ask_at_ms = ask_at_ms - {_LATE_MS},
    created_at_ms = created_at_ms - {_LATE_MS},
    updated_at_ms = updated_at_ms - {_LATE_MS}
"""
MEND_OPEN_TASKS = Command(f"UPDATE tasks SET {_MENDED_TASK} WHERE {_OPEN_TASKS} AND {_IMPOSSIBLE}")
MEND_TASKS_TO_ASK_ABOUT = Command(
    f"UPDATE tasks SET {_MENDED_TASK} WHERE {_TASKS_TO_ASK_ABOUT} AND {_IMPOSSIBLE}"
)

_SUBMISSION = f"FROM submissions WHERE {_OPEN_SUBMISSIONS}"
_DELIVERY = f"FROM deliveries WHERE {_OPEN_DELIVERIES}"
_OPEN_TASK = f"FROM tasks WHERE {_OPEN_TASKS}"
_TASK_TO_ASK_ABOUT = f"FROM tasks WHERE {_TASKS_TO_ASK_ABOUT}"

IMPOSSIBLE_SUBMISSION = Query(f"SELECT id {_SUBMISSION} AND {_IMPOSSIBLE} LIMIT 1", str)
IMPOSSIBLE_DELIVERY = Query(f"SELECT id {_DELIVERY} AND {_IMPOSSIBLE} LIMIT 1", int)
IMPOSSIBLE_OPEN_TASK = Query(f"SELECT id {_OPEN_TASK} AND {_IMPOSSIBLE} LIMIT 1", str)
IMPOSSIBLE_TASK_TO_ASK_ABOUT = Query(f"SELECT id {_TASK_TO_ASK_ABOUT} AND {_IMPOSSIBLE} LIMIT 1", str)

NEWEST_SUBMISSION_MS = Query(f"SELECT max(updated_at_ms) {_SUBMISSION}", int)
NEWEST_DELIVERY_MS = Query(f"SELECT max(updated_at_ms) {_DELIVERY}", int)
NEWEST_OPEN_TASK_MS = Query(f"SELECT max(updated_at_ms) {_OPEN_TASK}", int)
NEWEST_TASK_TO_ASK_ABOUT_MS = Query(f"SELECT max(updated_at_ms) {_TASK_TO_ASK_ABOUT}", int)
NEWEST_EVENT_MS = Query("SELECT received_at_ms FROM events ORDER BY id DESC LIMIT 1", int)
