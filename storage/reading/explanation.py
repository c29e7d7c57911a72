"""Reads everything about one task: what made it, its events, their deliveries, and the resulting submissions."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from storage.events import event_log
from storage.reading import pages, sql, sql_versions
from storage.records import Attempt, Delivery, Event, Submission, TaskRow
from storage.submissions import submission_queue
from storage.tasks import rows as tasks

MOST_EVENTS = 2000
"""The number of newest events that are read of one task. A task has more only because of a loop in some other system."""


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """A task, the submission that made it, its events, their deliveries, and the submissions requested because of it.

    `is_cut`: there are older events than these.
    """

    task: TaskRow
    payload: bytes
    made_by: Submission | None
    events: list[Event]
    is_cut: bool
    deliveries: list[Delivery]
    asked_for: list[Submission]
    attempts: dict[str, list[Attempt]]


def explained(connection: Connection, upstream: str, task_id: str) -> Explained | None:
    """The explanation of a task, oldest entries first; None if there is no such task."""
    task = tasks.find(connection, upstream, task_id)
    if task is None:
        return None
    made_by = submission_queue.find(connection, task.submission_id) if task.submission_id else None
    task_id = task.id
    newest = sql.NEWEST_EVENTS.all(connection, upstream=upstream, task_id=task_id, most=MOST_EVENTS + 1)
    shown = newest[:MOST_EVENTS][::-1]
    requested = sql.SUBMISSIONS_OF_PARENT.all(connection, upstream=upstream, parent_id=task_id)
    submissions = [*([made_by] if made_by else []), *requested]
    return Explained(
        task=task,
        payload=event_log.latest_payload(connection, upstream, task_id),
        made_by=made_by,
        events=shown,
        is_cut=len(newest) > MOST_EVENTS,
        deliveries=sql.DELIVERIES_OF_EVENTS.all(connection, event_ids=[event.id for event in shown]),
        asked_for=requested,
        attempts={submission.id: pages.attempts_of(connection, submission.id) for submission in submissions},
    )


def version(connection: Connection, upstream: str, task_id: str) -> tuple[int, ...]:
    """Numbers that change whenever the result of `explained` changes."""
    newest = {"upstream": upstream, "task_id": task_id, "most": MOST_EVENTS}
    return (
        *sql_versions.EVENTS_OF_TASK.one(connection, **newest),
        sql_versions.DELIVERIES_OF_TASK.one(connection, **newest),
        *sql_versions.REQUESTED_BY_TASK.one(connection, upstream=upstream, parent_id=task_id),
    )
