"""Records as the JSON that our API answers. Times are RFC 3339 in UTC; the hook's address in payloads is redacted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from midjourney.decode import kept_task
from midjourney.redact import redacted, redacted_text, shortened
from storage.explained import Explained
from storage.letters import Letter
from storage.records import (
    Attempt,
    ChainRow,
    Delivery,
    Event,
    Quarantined,
    Submission,
    TaskRow,
)


def when(at_ms: int | None) -> str | None:
    """Epoch milliseconds as RFC 3339, UTC."""
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def shown(payload: bytes) -> Any:
    """A payload for people, without secrets: JSON, or text where it is none; null for none."""
    if not payload:
        return None
    try:
        return redacted(msgspec.json.decode(payload))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return redacted_text(payload.decode("utf-8", "replace"))


def task_shape(row: TaskRow, payload: bytes) -> dict[str, Any]:
    """A task: where it stands, and what its newest payload showed."""
    task = kept_task(payload)
    return {
        "upstream": row.upstream,
        "id": row.id,
        "status": row.status or "NOT_START",
        "progress": None if row.progress < 0 else row.progress,
        "action": row.action,
        "prompt": task.prompt if task else "",
        "image_url": task.image_url if task else "",
        "fail_reason": task.fail_reason if task else "",
        "buttons": [
            {"name": button.name, "kind": button.kind, "index": button.index, "custom_id": button.custom_id}
            for button in (task.buttons if task else ())
        ],
        "chain_id": row.chain_id,
        "submission_id": row.submission_id,
        "parent_id": row.parent_id or None,
        "depth": row.depth,
        "created_at": when(row.created_at_ms),
        "updated_at": when(row.updated_at_ms),
        "finished_at": when(row.finished_at_ms),
    }


def chain_shape(row: ChainRow) -> dict[str, Any]:
    """A chain, without its tasks."""
    return {
        "id": row.id,
        "upstream": row.upstream,
        "root_task_id": row.root_task_id or None,
        "submissions_used": row.submissions,
        "created_at": when(row.created_at_ms),
    }


def event_shape(event: Event) -> dict[str, Any]:
    """An event, its payload without secrets."""
    return {
        "id": event.id,
        "upstream": event.upstream,
        "task_id": event.task_id or None,
        "submission_id": event.submission_id or None,
        "source": event.source,
        "signal": event.signal,
        "action": event.action,
        "status": event.status,
        "progress": event.progress,
        "stale": event.source in ("callback", "reconcile") and not event.advanced,
        "detail": event.detail,
        "received_at": when(event.received_at_ms),
        "payload": shown(event.payload),
    }


def submission_shape(submission: Submission) -> dict[str, Any]:
    """A submission, its images cut: they are large."""
    return {
        "id": submission.id,
        "chain_id": submission.chain_id,
        "upstream": submission.upstream,
        "kind": submission.kind,
        "label": submission.label,
        "request": shortened(shown(submission.request)),
        "parent_id": submission.parent_id or None,
        "depth": submission.depth,
        "asked_by": submission.asked_by,
        "state": submission.state,
        "outcome": submission.outcome or None,
        "reason": submission.reason,
        "task_ids": list(submission.task_ids),
        "attempts": submission.attempts,
        "priority": submission.priority,
        "repeats": submission.repeats,
        "run_at": when(submission.run_at_ms),
        "created_at": when(submission.created_at_ms),
        "updated_at": when(submission.updated_at_ms),
    }


def attempt_shape(attempt: Attempt) -> dict[str, Any]:
    """One try, with the upstream's answer."""
    return {
        "number": attempt.number,
        "started_at": when(attempt.started_at_ms),
        "finished_at": when(attempt.finished_at_ms),
        "http_status": attempt.http_status,
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "answer": shown(attempt.answer),
    }


def delivery_shape(delivery: Delivery) -> dict[str, Any]:
    """A delivery, with what its receiver decided and the last traceback."""
    return {
        "id": delivery.id,
        "event_id": delivery.event_id,
        "receiver": delivery.receiver,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "fired": delivery.fired,
        "decision": delivery.decision,
        "error": delivery.error or None,
        "run_at": when(delivery.run_at_ms),
        "created_at": when(delivery.created_at_ms),
        "updated_at": when(delivery.updated_at_ms),
    }


def letter_shape(letter: Letter) -> dict[str, Any]:
    """A dead letter: which task it is about, where, and the delivery or the submission itself."""
    shape = {"id": letter.id, "kind": letter.kind, "died_at": when(letter.died_at_ms)}
    if letter.submission is not None:
        submission = letter.submission
        about = {"upstream": submission.upstream, "task_id": submission.parent_id or None}
        return shape | about | {"submission": submission_shape(submission)}
    assert letter.delivery is not None, "a letter is one of the two"
    event = letter.event
    about = {
        "upstream": None if event is None else event.upstream,
        "task_id": None if event is None else event.task_id or None,
    }
    return shape | about | {"delivery": delivery_shape(letter.delivery)}


def quarantine_shape(entry: Quarantined) -> dict[str, Any]:
    """A quarantined body, as text without secrets."""
    return {
        "id": entry.id,
        "upstream": entry.upstream,
        "submission_id": entry.submission_id or None,
        "content_type": entry.content_type,
        "reason": entry.reason,
        "size_bytes": len(entry.body),
        "body": shown(entry.body),
        "received_at": when(entry.received_at_ms),
    }


def explained_shape(found: Explained) -> dict[str, Any]:
    """A task's whole story: every event with who heard of it and why, every submission with its tries."""

    def with_tries(submission: Submission) -> dict[str, Any]:
        tries = [attempt_shape(one) for one in found.attempts[submission.id]]
        return submission_shape(submission) | {"tries": tries}

    heard: dict[int, list[Delivery]] = {}
    for delivery in found.deliveries:
        heard.setdefault(delivery.event_id, []).append(delivery)
    return {
        "task": task_shape(found.task, found.payload),
        "made_by": with_tries(found.made_by) if found.made_by is not None else None,
        "events": [
            event_shape(event) | {"deliveries": [delivery_shape(one) for one in heard.get(event.id, [])]}
            for event in found.events
        ],
        "is_cut": found.is_cut,
        "asked_for": [with_tries(one) for one in found.asked_for],
    }
