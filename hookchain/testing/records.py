"""Builds the rows that storage would have made, for events that are not stored."""

from __future__ import annotations

from storage.clock import now_ms
from storage.records import ChainRow, Delivery, Event, Source, Staged, Submission, TaskRow

SUBMISSION_ID = "0123456789abcdef01234567"


def event(
    number: int,
    signal: str,
    row: TaskRow | None,
    submission: Submission | None,
    payload: bytes,
    source: Source,
) -> Event:
    """An event that changed its task."""
    return Event(
        id=number,
        upstream="main",
        task_id=row.id if row is not None else "",
        submission_id=submission.id if submission is not None else "",
        source=source,
        signal=signal,
        action=row.action if row is not None else "",
        status=row.status if row is not None else "",
        progress=None,
        advanced=True,
        detail="",
        payload=payload,
        received_at_ms=now_ms(),
        generation=0,
    )


def delivery(number: int, receiver: str) -> Delivery:
    """The first run of a receiver."""
    return Delivery(
        id=number,
        event_id=number,
        receiver=receiver,
        lane="",
        state="running",
        attempts=1,
        excused=0,
        run_at_ms=now_ms(),
        fired=False,
        decision="",
        error="",
        created_at_ms=now_ms(),
        updated_at_ms=now_ms(),
    )


def chain(chain_id: str, submissions: int) -> ChainRow:
    """A chain with this number of submissions."""
    return ChainRow(
        id=chain_id, upstream="main", root_task_id="", submissions=submissions, created_at_ms=now_ms()
    )


def submission(staged: Staged, task_id: str, outcome: str) -> Submission:
    """A staged submission, sent and answered."""
    return Submission(
        id=SUBMISSION_ID,
        idempotency_key=staged.idempotency_key,
        chain_id=staged.chain_id,
        upstream=staged.upstream,
        kind=staged.kind,
        label=staged.label,
        request=staged.request,
        parent_id=staged.parent_id,
        depth=staged.depth,
        asked_by=staged.asked_by,
        lane=staged.lane,
        priority=staged.priority,
        queue_at_ms=0,
        state="accepted",
        outcome=outcome,
        reason="",
        task_ids=(task_id,),
        attempts=1,
        forgiven=0,
        repeats=0,
        run_at_ms=now_ms(),
        started_at_ms=now_ms(),
        created_at_ms=now_ms(),
        updated_at_ms=now_ms(),
    )
