"""Ingest: payloads on their way in become events, and move their tasks forward."""

from __future__ import annotations

from collections.abc import Container

import msgspec
from sqlalchemy import Connection

from midjourney.lifecycle import Position, advance, position_of
from midjourney.types import TERMINAL, Task
from storage import events, locks, settlements, submissions, tasks
from storage.events import NewEvent
from storage.locks import many_writers
from storage.records import SIGNAL_OF_CHANGE, Incoming, Recorded, TaskRow, beginning


def ingest(connection: Connection, batch: list[Incoming], heard: Container[str]) -> list[Recorded]:
    """Append one event for each payload and move the tasks forward; stale ones are kept and change nothing.

    `heard` holds the signals that somebody listens to; an event of another one need not wait for a fan-out.

    A payload that came by a submission's own path ties its task to that submission, which also proves that the
    upstream has the submission.
    """
    known = _held_tasks(connection, batch)
    changed: dict[tuple[str, str], TaskRow] = {}
    rows: list[NewEvent] = []
    recorded: list[Recorded] = []
    for incoming in batch:
        task, key = incoming.task, (incoming.upstream, incoming.task.id)
        row = known.get(key)
        moved = advance(None if row is None else Position(row.status, row.progress), position_of(task))
        linked = _linked(connection, row, incoming)
        if moved is not None or linked is not row:
            known[key] = changed[key] = _advanced(linked, incoming, None if moved is None else moved[0])
        change = None if moved is None else moved[1]
        signal = None if change is None else SIGNAL_OF_CHANGE[change]
        rows.append(
            _new_event(incoming, known[key], signal, advanced=change is not None, pending=signal in heard)
        )
        recorded.append(Recorded(change=change))
    events.append(connection, rows)
    if changed:
        tasks.put(connection, *changed.values())
    return recorded


def _held_tasks(connection: Connection, batch: list[Incoming]) -> dict[tuple[str, str], TaskRow]:
    """The rows of the batch's tasks, to be put back. The submissions that are to be tied to some are held before."""
    ids: dict[str, set[str]] = {}
    for incoming in batch:
        ids.setdefault(incoming.upstream, set()).add(incoming.task.id)
    now_ms = batch[0].received_at_ms
    if many_writers(connection):
        untied = {one.submission_id for one in batch if one.submission_id}
        for upstream, wanted in ids.items():
            tied = {row.submission_id for row in tasks.find_all(connection, upstream, wanted).values()}
            untied -= {one for one in tied if one is not None}
        locks.submissions(connection, list(untied))
    return {
        (upstream, task_id): row
        for upstream in sorted(ids)
        for task_id, row in tasks.hold(connection, upstream, ids[upstream], now_ms).items()
    }


def _linked(connection: Connection, row: TaskRow | None, incoming: Incoming) -> TaskRow | None:
    """The row tied to the submission named in the hook's path; the row itself where there is nothing to tie."""
    if not incoming.submission_id or (row is not None and row.submission_id is not None):
        return row
    submission = submissions.find(connection, incoming.submission_id)
    if submission is None or submission.upstream != incoming.upstream:
        return row
    settlements.prove(connection, submission, incoming.task.id, incoming.received_at_ms)
    return settlements.placed(row or _blank(incoming), submission)


def _blank(incoming: Incoming) -> TaskRow:
    """A task nobody has heard of. Where its payload names the task it was pressed on, that is its parent for now."""
    row = tasks.blank(incoming.upstream, incoming.task.id, incoming.received_at_ms)
    return msgspec.structs.replace(row, parent_id=incoming.task.pressed_on)


def _advanced(row: TaskRow | None, incoming: Incoming, position: Position | None) -> TaskRow:
    row = row or _blank(incoming)
    if position is None:
        return row
    ended = position.status in TERMINAL
    return msgspec.structs.replace(
        row,
        status=position.status,
        progress=position.progress,
        action=incoming.task.action or row.action,
        prompt=beginning(incoming.task.prompt) or row.prompt,
        updated_at_ms=incoming.received_at_ms,
        misses=0,
        finished_at_ms=incoming.received_at_ms if ended else None,
    )


def _detail(task: Task) -> str:
    """What is odd about a payload, for people."""
    return f"shows image {task.image_number}, another than was pressed" if task.is_swapped else ""


def _new_event(
    incoming: Incoming, row: TaskRow, signal: str | None, *, advanced: bool, pending: bool
) -> NewEvent:
    task = incoming.task
    return NewEvent(
        upstream=incoming.upstream,
        task_id=task.id,
        submission_id=incoming.submission_id,
        source=incoming.source,
        signal=signal,
        action=task.action or row.action,
        status=task.status,
        progress=task.progress,
        advanced=advanced,
        pending=pending,
        detail=_detail(task) if advanced else "",
        payload=task.raw,
        received_at_ms=incoming.received_at_ms,
    )
