"""Everything that happened around one task, in one read."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, func, select

from storage import events as event_rows
from storage import queries, schema, submissions, tasks
from storage.deliveries import DELIVERY_COLUMNS
from storage.records import Attempt, Delivery, Event, Submission, TaskRow

_deliveries, _submissions = schema.deliveries, schema.submissions

MOST_EVENTS = 2000
"""Of one task, the newest: what has more is a loop somewhere else."""


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """A task, what made it, what was told about it, who heard of it, and what was asked for because of it.

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
    """All that is known, oldest first; None when there is no such task."""
    task = tasks.find(connection, upstream, task_id)
    if task is None:
        return None
    made_by = submissions.find(connection, task.submission_id) if task.submission_id else None
    newest = _newest_events(connection, task)
    told = newest[:MOST_EVENTS][::-1]
    asked_for = connection.execute(
        select(*submissions.SUBMISSION_COLUMNS)
        .where(submissions.of_parent(upstream, task_id))
        .order_by(_submissions.c.created_at_ms, _submissions.c.label)
    )
    found = [submissions.submission_of(row) for row in asked_for]
    everything = [*([made_by] if made_by else []), *found]
    return Explained(
        task=task,
        payload=event_rows.latest_payload(connection, upstream, task_id),
        made_by=made_by,
        events=told,
        is_cut=len(newest) > MOST_EVENTS,
        deliveries=_heard(connection, [event.id for event in told]),
        asked_for=found,
        attempts={one.id: queries.attempts_of(connection, one.id) for one in everything},
    )


def mark(connection: Connection, upstream: str, task_id: str) -> tuple[int, ...]:
    """What changes with anything that `explained` tells."""
    events = schema.events
    of_task = (events.c.upstream == upstream) & (events.c.task_id == task_id)
    told = connection.execute(select(func.max(events.c.id), func.count()).where(of_task)).one()
    heard = connection.execute(
        select(func.sum(_deliveries.c.updated_at_ms % 1_000_003), func.count())
        .select_from(events.join(_deliveries, _deliveries.c.event_id == events.c.id))
        .where(of_task)
    ).one()
    asked_for = connection.execute(
        select(func.sum(_submissions.c.updated_at_ms % 1_000_003), func.count()).where(
            submissions.of_parent(upstream, task_id)
        )
    ).one()
    return tuple(int(one or 0) for one in (*told, *heard, *asked_for))


def _newest_events(connection: Connection, task: TaskRow) -> list[Event]:
    """One more than are told, where there are so many."""
    events = schema.events
    of_task = (events.c.upstream == task.upstream) & (events.c.task_id == task.id)
    rows = connection.execute(
        select(*event_rows.EVENT_COLUMNS).where(of_task).order_by(events.c.id.desc()).limit(MOST_EVENTS + 1)
    )
    return [event_rows.event_of(row) for row in rows]


def _heard(connection: Connection, event_ids: list[int]) -> list[Delivery]:
    rows = connection.execute(
        select(*DELIVERY_COLUMNS)
        .where(_deliveries.c.event_id.in_(event_ids))
        .order_by(_deliveries.c.event_id, _deliveries.c.receiver)
    )
    return [Delivery(**row._mapping) for row in rows]
