"""The statements about deliveries, and about how often their receivers have fired."""

from __future__ import annotations

from typing import NamedTuple

from storage.driver.decoder import columns_of
from storage.driver.statements import Command, Query
from storage.records import ChainRow, Delivery, Event, StoredValues, Submission, TaskRow

# The queue.

ADD_DELIVERY = Command(
    """
    INSERT INTO deliveries (event_id, receiver, lane, state, attempts, excused, run_at_ms, fired, decision, error,
      created_at_ms, updated_at_ms)
    VALUES (:event_id, :receiver, :lane, :state, 0, 0, :now_ms, FALSE, '', '', :now_ms, :now_ms)
    ON CONFLICT (event_id, receiver) DO NOTHING
    """
)

GIVE_AGAIN = Query(
    """
    INSERT INTO deliveries (event_id, receiver, lane, state, attempts, excused, run_at_ms, fired, decision, error,
      created_at_ms, updated_at_ms)
    SELECT CAST(:new_event_id AS BIGINT), receiver, lane, CAST(:state AS TEXT), 0, 0, CAST(:now_ms AS BIGINT), FALSE, '', '',
      CAST(:now_ms AS BIGINT), CAST(:now_ms AS BIGINT)
    FROM deliveries WHERE event_id = :event_id AND receiver = :receiver
    RETURNING id
    """,
    int,
)
RECEIVERS_OF_EVENT = Query(
    "SELECT receiver FROM deliveries WHERE event_id = :event_id ORDER BY receiver", str
)

_DELIVERY = columns_of(Delivery, "deliveries")

# "In the words of the index" means: `state IN ('waiting', 'running')`, as in the partial index, so that it is used.
_IS_SUSPECT = """(
    deliveries.suspected /*sqlite = 1 */
    OR EXISTS (
      SELECT 1 FROM deliveries AS sibling
      WHERE sibling.receiver = deliveries.receiver
        AND sibling.suspected AND sibling.state IN ('waiting', 'running')
    ))"""
"""The delivery is a suspect, or another one to its receiver is. In the words of the index."""

DUE = Query(
    f"""
    SELECT {_DELIVERY.replace("deliveries.suspected", _IS_SUSPECT)}
    FROM deliveries
    WHERE deliveries.state = 'waiting' AND deliveries.run_at_ms <= :now_ms
      AND (deliveries.lane = '' OR NOT EXISTS (
        SELECT 1 FROM deliveries AS earlier
        WHERE earlier.receiver = deliveries.receiver AND earlier.lane = deliveries.lane
          AND earlier.state IN ('waiting', 'running') AND earlier.id < deliveries.id
      ))
      AND deliveries.receiver NOT IN (:full)
    ORDER BY deliveries.run_at_ms, deliveries.id
    LIMIT :most
    /*postgresql FOR UPDATE OF deliveries SKIP LOCKED */
    """,
    Delivery,
)
"""To be claimed by `CLAIM_DELIVERIES` (storage/duty/sql.py); locked until the transaction ends. Of a lane, only the oldest delivery is due; the index `deliveries_in_lane` finds it."""


class Lane(NamedTuple):
    """A receiver, and the task whose events it gets in order."""

    receiver: str
    lane: str


NEXT_IN_LANES = Query(
    """
    WITH lanes (receiver, lane) AS (VALUES (:receiver, :lane))
    SELECT lanes.receiver, lanes.lane FROM lanes
    WHERE EXISTS (
      SELECT 1 FROM deliveries
      WHERE deliveries.receiver = lanes.receiver AND deliveries.lane = lanes.lane
        AND deliveries.state = 'waiting' AND deliveries.state IN ('waiting', 'running')
    )
    """,
    Lane,
)
"""The lanes in which a delivery waits. In the words of the index."""

# The context of an event, for its receivers.


class Context(NamedTuple):
    """An event, its task, and the chain and submission that it is about. `follows`: the joins that the submission follows from.
    `store_version` is that of the chain's store, 0 if it has none."""

    event: Event
    task: TaskRow | None
    chain: ChainRow | None
    submission: Submission | None
    follows: str
    store_version: int


# The hook on which a callback arrived proves nothing, so its task's submission counts. Other events may name their submission.
_SUBMISSION_OF_EVENT = """
    CASE WHEN events.source = 'callback' THEN tasks.submission_id
    ELSE coalesce(nullif(events.submission_id, ''), tasks.submission_id) END"""

CONTEXTS = Query(
    f"""
    SELECT {columns_of(Event, "events")}, {columns_of(TaskRow, "tasks")}, {columns_of(ChainRow, "chains")},
      {columns_of(Submission, "submissions")}, coalesce(submissions.follows, ''),
      coalesce(chain_stores.version, 0)
    FROM events
    LEFT JOIN tasks ON tasks.upstream = events.upstream AND tasks.id = events.task_id
    LEFT JOIN submissions ON submissions.id = {_SUBMISSION_OF_EVENT}
    LEFT JOIN chains ON chains.id = coalesce(tasks.chain_id, submissions.chain_id)
    LEFT JOIN chain_stores ON chain_stores.chain_id = chains.id
    WHERE events.id IN (:event_ids)
    """,
    Context,
)
ACTED_BEFORE = Query(
    """
    SELECT deliveries.id
    FROM events
    JOIN deliveries ON deliveries.event_id = events.id
    WHERE events.upstream = :upstream AND events.task_id = :task_id AND events.signal = :signal
      AND events.id < :event_id AND deliveries.receiver = :receiver
      AND (deliveries.fired OR (deliveries.state = 'dead' AND events.provenance <> 'refuted'))
    LIMIT 1
    """,
    int,
)

# What plugins keep for a chain.

STORE = Query("SELECT version, content FROM chain_stores WHERE chain_id = :chain_id", StoredValues)


class ChainContent(NamedTuple):
    """What is kept for a chain."""

    chain_id: str
    content: str


STORES = Query("SELECT chain_id, content FROM chain_stores ORDER BY chain_id", ChainContent)


class StoreVersion(NamedTuple):
    """The newest version of a chain's store."""

    chain_id: str
    version: int


STORE_VERSIONS = Query(
    "SELECT chain_id, version FROM chain_stores WHERE chain_id IN (:chain_ids)", StoreVersion
)
KEEP_STORE = Command(
    """
    INSERT INTO chain_stores (chain_id, version, content, updated_at_ms)
    VALUES (:chain_id, :version, :content, :now_ms)
    ON CONFLICT (chain_id) DO UPDATE
    SET version = excluded.version, content = excluded.content, updated_at_ms = excluded.updated_at_ms
    """
)

# Suspects.

SUSPECT = Command(
    "UPDATE deliveries SET suspected = TRUE, run_at_ms = :run_at_ms, decision = :reason WHERE id IN (:ids)"
)
CHARGE = Command(
    "UPDATE deliveries SET deaths = deaths + 1, run_at_ms = :run_at_ms, decision = :reason WHERE id = :id"
)
DECIDE = Command("UPDATE deliveries SET decision = :decision WHERE id = :id")
ACQUIT = Command("UPDATE deliveries SET deaths = 0 WHERE state = 'waiting' AND suspected")
CLEAR = Command(
    "UPDATE deliveries SET suspected = FALSE WHERE state = 'running' AND worker = :worker AND suspected"
)

# Firings.

FIRED = Query("SELECT count FROM firings WHERE receiver = :receiver AND scope = :scope", int)
FIRE = Query(
    """
    INSERT INTO firings (receiver, scope, count) VALUES (:receiver, :scope, 1)
    ON CONFLICT (receiver, scope) DO UPDATE SET count = firings.count + 1 WHERE firings.count < :most
    RETURNING count
    """,
    int,
)
"""No row if the receiver has fired `:most` times."""
