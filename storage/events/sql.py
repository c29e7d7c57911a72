"""The statements about events, and about callbacks that were refused or quarantined."""

from __future__ import annotations

from typing import NamedTuple

from storage.driver.decoder import columns_of, parameters_of
from storage.driver.statements import Command, Query
from storage.records import Event, Payload, PendingEvent, Quarantined
from storage.records.refusals import Refusal

_OF_TASK = "upstream = :upstream AND task_id = :task_id"

# Fan-out.

# A task without a chain may have been made by a submission that is being sent, because its callback can overtake the answer.
# Fanned out now, it would count as a root, with a budget of its own and depth 0. So it waits for these answers.
_MAY_BE_A_CHILD = """
    tasks.chain_id IS NULL AND EXISTS (
        SELECT 1 FROM submissions
        WHERE submissions.upstream = events.upstream AND submissions.state = 'sending'
          AND submissions.started_at_ms <= events.received_at_ms + :skew_ms
    )
"""

# A callback on a submission's hook waits until a poll has shown whether the submission made its task.
_IS_CLAIMED = "events.submission_id <> '' AND tasks.chain_id IS NULL AND tasks.ask_at_ms IS NOT NULL"

PENDING = Query(
    f"""
    SELECT events.id, events.upstream, events.task_id, events.signal, events.action, events.source,
      tasks.chain_id, tasks.parent_id
    FROM events
    LEFT JOIN tasks ON tasks.upstream = events.upstream AND tasks.id = events.task_id
    WHERE events.pending /*sqlite = 1 */ AND NOT ({_MAY_BE_A_CHILD}) AND NOT ({_IS_CLAIMED})
    ORDER BY events.id
    LIMIT :most
    """,
    PendingEvent,
)
MARK_FANNED_OUT = Command("UPDATE events SET pending = FALSE WHERE id IN (:ids)")

# Payloads.


class Current(NamedTuple):
    """A payload, and whether the upstream vouches for it."""

    payload: Payload
    is_fact: bool


class Newest(NamedTuple):
    """The newest payload of a task."""

    payload: Payload


_IS_FACT = "(provenance = 'confirmed' OR provenance = 'polled')"
LATEST = Query(
    f"""
    SELECT payload, {_IS_FACT} FROM events
    WHERE {_OF_TASK} AND advanced /*sqlite = 1 */
    ORDER BY {_IS_FACT} DESC, id DESC LIMIT 1
    """,
    Current,
)
LATEST_AT = Query(
    f"""
    SELECT payload FROM events
    WHERE {_OF_TASK} AND advanced /*sqlite = 1 */ AND id <= :event_id
    ORDER BY {_IS_FACT} DESC, id DESC LIMIT 1
    """,
    Newest,
)
NEWEST_PAYLOAD = Query(
    f"SELECT payload FROM events WHERE {_OF_TASK} AND advanced /*sqlite = 1 */ ORDER BY id DESC LIMIT 1",
    Newest,
)


class OfTask(NamedTuple):
    """The payload to show of a task."""

    task_id: str
    payload: Payload


_ADVANCED = "upstream = :upstream AND task_id IN (:task_ids) AND advanced /*sqlite = 1 */"
NEWEST_PAYLOADS = Query(
    f"""
    SELECT task_id, payload FROM events
    WHERE id IN (SELECT max(id) FROM events WHERE {_ADVANCED} GROUP BY task_id)
    """,
    OfTask,
)
LATEST_PAYLOADS = Query(
    f"""
    SELECT task_id, payload FROM events
    WHERE id IN (
        SELECT coalesce(max(CASE WHEN {_IS_FACT} THEN id END), max(id)) FROM events
        WHERE {_ADVANCED}
        GROUP BY task_id
    )
    """,
    OfTask,
)


class Note(NamedTuple):
    """The note of an event."""

    id: int
    detail: str


NEWEST_NOTES = Query(f"SELECT id, detail FROM events WHERE {_OF_TASK} ORDER BY id DESC LIMIT :most", Note)
WITH_PAYLOAD = Query("SELECT max(id) FROM events WHERE id IN (:ids) AND payload = :stored", int)

# Packing.


class Whole(NamedTuple):
    """All columns of an event, in the order of the table, with the payload as it is stored."""

    id: int
    upstream: str
    task_id: str
    submission_id: str
    source: str
    signal: str | None
    action: str
    status: str
    progress: int | None
    advanced: bool
    pending: bool
    detail: str
    payload: bytes
    received_at_ms: int
    generation: int
    provenance: str


class Kept(NamedTuple):
    """The payload of an event as it is stored."""

    id: int
    stored: bytes
    received_at_ms: int


KEPT_AFTER = Query(
    "SELECT id, payload, received_at_ms FROM events WHERE id > :after ORDER BY id LIMIT :most", Kept
)
NEWEST_ID = Query("SELECT max(id) FROM events", int)
WHOLE = Query(f"SELECT {columns_of(Whole)} FROM events WHERE id IN (:ids) ORDER BY id", Whole)
TAKE_OUT = Command("DELETE FROM events WHERE id IN (:ids)")
REPLACE_PAYLOAD = Command("UPDATE events SET payload = :value WHERE id = :id")

# Replays.

EVENT = Query(f"SELECT {columns_of(Event)} FROM events WHERE id = :id", Event)
LAST_GENERATION = Query(f"SELECT max(generation) FROM events WHERE {_OF_TASK}", int)
REPLAY = Query(
    """
    INSERT INTO events (
      upstream, task_id, submission_id, source, signal, action, status, progress, advanced, pending, detail, payload,
      received_at_ms, generation
    )
    SELECT upstream, task_id, submission_id, 'replay', signal, action, status, progress, FALSE, TRUE,
      CAST(:detail AS TEXT), payload, CAST(:now_ms AS BIGINT), CAST(:generation AS BIGINT)
    FROM events WHERE id = :id
    RETURNING id
    """,
    int,
)

# Quarantine.

ENTRY = Query(f"SELECT {columns_of(Quarantined)} FROM quarantine WHERE id = :id", Quarantined)
EQUAL_ENTRY = Query(
    """
    SELECT id FROM quarantine
    WHERE upstream = :upstream AND submission_id = :submission_id AND digest = :digest
    """,
    int,
)
COUNT_AGAIN = Command("UPDATE quarantine SET count = count + 1, last_at_ms = :now_ms WHERE id = :id")
ADD_ENTRY = Query(
    """
    INSERT INTO quarantine (
      upstream, submission_id, content_type, reason, body, received_at_ms, body_bytes, is_cut, digest, count, last_at_ms
    )
    VALUES (
      :upstream, :submission_id, :content_type, :reason, :body, :received_at_ms, :body_bytes, :is_cut, :digest, 1,
      :received_at_ms
    )
    RETURNING id
    """,
    int,
)
DROP_ENTRY = Command("DELETE FROM quarantine WHERE id = :id")
DROP_ENTRIES = Command("DELETE FROM quarantine WHERE id IN (:ids)")


class Size(NamedTuple):
    """The size of an entry's stored body."""

    id: int
    body_bytes: int


ENTRY_SIZES = Query("SELECT id, length(body) FROM quarantine ORDER BY id DESC LIMIT :most", Size)
OLDEST_ENTRIES = Query("SELECT id FROM quarantine WHERE id <= :newest_id ORDER BY id LIMIT :most", int)

# Refusals.

ADD_REFUSAL = Command(
    f"""
    INSERT INTO refusals ({columns_of(Refusal)}) VALUES ({parameters_of(Refusal)})
    ON CONFLICT (upstream, why) DO UPDATE SET
      count = refusals.count + excluded.count,
      detail = CASE WHEN excluded.last_at_ms >= refusals.last_at_ms THEN excluded.detail ELSE refusals.detail END,
      last_at_ms = CASE
        WHEN excluded.last_at_ms >= refusals.last_at_ms THEN excluded.last_at_ms ELSE refusals.last_at_ms
      END
    """
)
REFUSALS_SINCE = Query(
    f"SELECT {columns_of(Refusal)} FROM refusals WHERE last_at_ms >= :since_ms ORDER BY last_at_ms DESC",
    Refusal,
)
