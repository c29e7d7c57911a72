"""The statements about what happened: the ledger of submissions, and recorded events."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from storage.driver.decoder import columns_of
from storage.driver.statements import Query
from storage.records import ChainRow, Event, Payload, Submission, TaskRow
from storage.submissions.modal_answers import made_another_task

# The ledger.


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One submission in the ledger. `failed`: its task failed; `repeats`: how often it was requested again."""

    id: str
    chain_id: str
    upstream: str
    kind: str
    label: str
    request: bytes
    asked_by: str
    state: str
    repeats: int
    created_at_ms: int
    failed: bool


# A modal continues under its own id, and its answer is what was paid for, unless it made a task with another id.
ENTRIES = Query(
    f"""
    SELECT id, chain_id, upstream, kind, label, request, asked_by, state, repeats, created_at_ms,
      EXISTS (
          SELECT 1 FROM tasks
          WHERE tasks.submission_id = submissions.id AND tasks.status IN ('FAILURE', 'CANCEL', 'LOST')
      )
      OR (
          kind = 'modal'
          AND EXISTS (
              SELECT 1 FROM tasks AS its_modal
              WHERE its_modal.upstream = submissions.upstream AND its_modal.id = submissions.parent_id
                AND its_modal.status IN ('FAILURE', 'CANCEL', 'LOST')
          )
          AND NOT {made_another_task("submissions")}
      )
    FROM submissions
    WHERE created_at_ms >= :since_ms
    ORDER BY created_at_ms, id
    """,
    Entry,
)

# Recorded events.

NEWEST_ID = Query("SELECT max(id) FROM events", int)
RECEIVED_AFTER = Query("SELECT received_at_ms FROM events WHERE id > :id ORDER BY id LIMIT 1", int)


class RecordedEvent(NamedTuple):
    """An event with its context. `parent`: the payload of the task that a modal was pressed on."""

    event: Event
    task: TaskRow | None
    chain: ChainRow | None
    submission: Submission | None
    parent: Payload | None


class ReadBack(NamedTuple):
    """What the upstream showed of a task after a callback. `was_acted_on`: receivers of the callback ran."""

    payload: Payload
    was_acted_on: bool


READ_BACK = Query(
    """
    SELECT payload,
      EXISTS (SELECT 1 FROM deliveries WHERE deliveries.event_id = :event_id AND deliveries.attempts > 0)
    FROM events
    WHERE upstream = :upstream AND task_id = :task_id AND id > :event_id AND advanced /*sqlite = 1 */
      AND source = 'reconcile' AND status = :status
    ORDER BY id
    LIMIT 1
    """,
    ReadBack,
)
"""The first time that the upstream showed a task as a callback had: it replaced the callback's body."""

_RECORDED = f"""
    SELECT {columns_of(Event, "events")}, {columns_of(TaskRow, "tasks")}, {columns_of(ChainRow, "chains")},
      {columns_of(Submission, "submissions")},
      (
          SELECT parent.payload FROM events AS parent
          WHERE events.signal = 'submission.needs_modal' AND parent.upstream = tasks.upstream
            AND parent.task_id = tasks.parent_id AND parent.advanced /*sqlite = 1 */
          ORDER BY parent.id DESC LIMIT 1
      )
    FROM events
    LEFT JOIN tasks ON tasks.upstream = events.upstream AND tasks.id = events.task_id
    LEFT JOIN submissions ON submissions.id = CASE
        WHEN events.source = 'callback' THEN tasks.submission_id
        ELSE coalesce(nullif(events.submission_id, ''), tasks.submission_id)
      END
    LEFT JOIN chains ON chains.id = coalesce(tasks.chain_id, submissions.chain_id)
    WHERE events.id > :after AND events.received_at_ms >= :since_ms AND {{wanted}}
      AND events.source <> 'replay' AND events.provenance <> 'refuted'
    ORDER BY events.id
    LIMIT :most
    """
RECORDED = Query(_RECORDED.format(wanted="events.signal IN (:signals)"), RecordedEvent)
# Also what moved a task without a signal (a button that somebody pressed elsewhere), and what people did with what waited.
WITH_MOVES = Query(
    _RECORDED.format(
        wanted="""(events.signal IN (:signals) OR (events.signal IS NULL
        AND (events.advanced /*sqlite = 1 */ OR (events.source = 'internal' AND events.status IN ('dropped', 'waiting')))))"""
    ),
    RecordedEvent,
)
