"""Converts stored records to the API's response bodies. The hook's address in payloads is redacted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from hooks.api import answers
from hooks.api.reports import BudgetUse
from hooks.times import when
from midjourney.decode import kept_task
from midjourney.errors import Undecodable
from midjourney.redact import beginning_of, redacted, redacted_text, shortened
from midjourney.wrapping import unwrapped
from storage.budgets.billing import Left
from storage.events.quarantine import KEPT_BYTES
from storage.reading.dead_letters import DeadLetter
from storage.reading.explanation import Explained
from storage.records import (
    Attempt,
    ChainRow,
    Delivery,
    Event,
    Quarantined,
    Submission,
    TaskRow,
)

T = TypeVar("T", bound=msgspec.Struct)


def extended(kind: type[T], answer: msgspec.Struct, **more: object) -> T:
    """Return a response body extended by more fields, as the struct that has them."""
    return kind(**msgspec.structs.asdict(answer), **more)


def redacted_payload(payload: bytes) -> object:
    """Return a payload without secrets: its JSON value, its text if it is not JSON, None if it is empty."""
    if not payload:
        return None
    try:
        return redacted(msgspec.json.decode(payload))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return redacted_text(payload.decode("utf-8", "replace"))


def redacted_task(payload: bytes) -> object:
    """Return an event's payload as `redacted_payload` does, but a task without its wrapping."""
    try:
        return redacted(unwrapped(payload)) if payload else None
    except Undecodable:
        return redacted_payload(payload)


def task_shape(row: TaskRow, payload: bytes) -> answers.Task:
    """Return a task: its state, and what its newest payload showed."""
    task = kept_task(payload)
    return answers.Task(
        upstream=row.upstream,
        id=row.id,
        status=row.status or "NOT_START",
        progress=None if row.progress < 0 else row.progress,
        action=row.action,
        prompt=task.prompt if task else "",
        image_url=task.image_url if task else "",
        fail_reason=task.fail_reason if task else "",
        failure_kind=(task.failure_kind if task else "") or None,
        buttons=[
            answers.Button(name=button.name, kind=button.kind, index=button.index, custom_id=button.custom_id)
            for button in (task.buttons if task else ())
        ],
        chain_id=row.chain_id,
        submission_id=row.submission_id,
        parent_id=row.parent_id or None,
        depth=row.depth,
        created_at=when(row.created_at_ms),
        updated_at=when(row.updated_at_ms),
        finished_at=when(row.finished_at_ms),
    )


def chain_shape(row: ChainRow) -> answers.Chain:
    """Return a chain without its tasks."""
    return answers.Chain(
        id=row.id,
        upstream=row.upstream,
        root_task_id=row.root_task_id or None,
        submissions_used=row.submissions,
        created_at=when(row.created_at_ms),
        client=row.client or None,
    )


def event_shape(event: Event) -> answers.Event:
    """Return an event with its payload, without secrets."""
    return answers.Event(
        id=event.id,
        upstream=event.upstream,
        task_id=event.task_id or None,
        submission_id=event.submission_id or None,
        source=event.source,
        provenance=event.provenance,
        signal=event.signal,
        action=event.action,
        status=event.status,
        progress=event.progress,
        stale=event.source in ("callback", "reconcile") and not event.advanced,
        detail=event.detail,
        received_at=when(event.received_at_ms),
        payload=redacted_task(event.payload),
    )


def submission_shape(submission: Submission) -> answers.Submission:
    """Return a submission. Its images are shortened because they are large."""
    return answers.Submission(
        id=submission.id,
        chain_id=submission.chain_id,
        upstream=submission.upstream,
        kind=submission.kind,
        label=submission.label,
        request=shortened(redacted_payload(submission.request)),
        parent_id=submission.parent_id or None,
        depth=submission.depth,
        asked_by=submission.asked_by,
        state=submission.state,
        outcome=submission.outcome or None,
        reason=submission.reason,
        failure_kind=submission.failure_kind or None,
        task_ids=list(submission.task_ids),
        attempts=submission.attempts,
        priority=submission.priority,
        mode=submission.mode,
        repeats=submission.repeats,
        run_at=when(submission.run_at_ms),
        created_at=when(submission.created_at_ms),
        updated_at=when(submission.updated_at_ms),
    )


def submission_detail(submission: Submission, attempts: list[Attempt]) -> answers.SubmissionDetail:
    """Return a submission with its attempts."""
    tries = [attempt_shape(attempt) for attempt in attempts]
    return extended(answers.SubmissionDetail, submission_shape(submission), tries=tries)


def attempt_shape(attempt: Attempt) -> answers.Attempt:
    """Return an attempt with the upstream's answer."""
    return answers.Attempt(
        number=attempt.number,
        started_at=when(attempt.started_at_ms),
        finished_at=when(attempt.finished_at_ms),
        http_status=attempt.http_status,
        outcome=attempt.outcome,
        reason=attempt.reason,
        answer=redacted_payload(attempt.answer),
    )


def delivery_shape(delivery: Delivery) -> answers.Delivery:
    """Return a delivery with what its receiver decided and the last traceback."""
    return answers.Delivery(
        id=delivery.id,
        event_id=delivery.event_id,
        receiver=delivery.receiver,
        state=delivery.state,
        attempts=delivery.attempts,
        fired=delivery.fired,
        decision=delivery.decision,
        error=delivery.error or None,
        run_at=when(delivery.run_at_ms),
        created_at=when(delivery.created_at_ms),
        updated_at=when(delivery.updated_at_ms),
    )


def letter_shape(letter: DeadLetter) -> answers.DeadLetter:
    """Return a dead letter: the task it concerns, and the delivery or submission itself."""
    submission, delivery, event = letter.submission, letter.delivery, letter.event
    if submission is not None:
        return answers.DeadLetter(
            id=letter.id,
            kind=letter.kind,
            died_at=when(letter.died_at_ms),
            upstream=submission.upstream,
            task_id=submission.parent_id or None,
            submission=submission_shape(submission),
        )
    assert delivery is not None, "a dead letter has either a submission or a delivery"
    return answers.DeadLetter(
        id=letter.id,
        kind=letter.kind,
        died_at=when(letter.died_at_ms),
        upstream=None if event is None else event.upstream,
        task_id=None if event is None else event.task_id or None,
        delivery=delivery_shape(delivery),
    )


def redacted_beginning(body: bytes, most: int) -> object:
    """Return a body as `redacted_payload` does; if it has `most` bytes or more, only its beginning, as text."""
    return (
        redacted_payload(body)
        if len(body) < most
        else beginning_of(body[:most].decode("utf-8", "replace"), most)
    )


def quarantine_shape(entry: Quarantined, *, most: int = KEPT_BYTES + 1) -> answers.Quarantined:
    """Return a quarantined body without secrets: as JSON, or as text if it is not JSON or has `most` bytes or more.

    Earlier releases may have kept longer bodies than are kept now.
    """
    return answers.Quarantined(
        id=entry.id,
        upstream=entry.upstream,
        submission_id=entry.submission_id or None,
        content_type=entry.content_type,
        reason=entry.reason,
        size_bytes=entry.body_bytes or len(entry.body),
        is_cut=entry.is_cut,
        count=entry.count,
        last_at=when(entry.last_at_ms or entry.received_at_ms),
        body=redacted_beginning(entry.body, most),
        received_at=when(entry.received_at_ms),
    )


def budget_shape(left: Left) -> BudgetUse:
    """Return the use of a budget in the current period, for one scope."""
    return BudgetUse(
        budget=left.budget,
        per=left.per,
        by=left.by,
        scope=left.scope,
        period=left.period,
        ends_at=when(left.ends_at_ms),
        measure=left.measure,
        used=left.used,
        limit=left.limit,
        left=round(left.left, 6),
    )


def explained_events(events: Iterable[Event], deliveries: Iterable[Delivery]) -> list[answers.ExplainedEvent]:
    """Return events, each with its deliveries."""
    of_event: dict[int, list[answers.Delivery]] = {}
    for delivery in deliveries:
        of_event.setdefault(delivery.event_id, []).append(delivery_shape(delivery))
    return [
        extended(answers.ExplainedEvent, event_shape(event), deliveries=of_event.get(event.id, []))
        for event in events
    ]


def explained_shape(found: Explained) -> answers.Explanation:
    """Return a task's history: every event with its deliveries, every submission with its attempts."""

    def detail(submission: Submission) -> answers.SubmissionDetail:
        return submission_detail(submission, found.attempts[submission.id])

    return answers.Explanation(
        task=task_shape(found.task, found.payload),
        made_by=detail(found.made_by) if found.made_by is not None else None,
        events=explained_events(found.events, found.deliveries),
        is_cut=found.is_cut,
        asked_for=[detail(submission) for submission in found.asked_for],
    )
