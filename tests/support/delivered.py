"""Builds the rows that storage would have made, for tests of functions that only look at them."""

from __future__ import annotations

from storage.clock import now_ms
from storage.records import Delivery, Event, Source, Submission, TaskRow


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
