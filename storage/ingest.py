"""Ingest: turns incoming payloads into events, and moves their tasks forward.

A callback is a hint: it moves its task to the status that it reports, but stays unverified until the task is read back from
the upstream (storage/tasks/believe.py). A callback alone can neither tie a task to a submission nor change how an ended task
ended: in these cases the upstream is polled soon.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

import msgspec
from sqlalchemy import Connection

from midjourney.lifecycle import Position, advance, position_of
from midjourney.types import TERMINAL, Task, digest_of
from storage.budgets import charges
from storage.driver import locks
from storage.driver.locks import many_writers
from storage.duty.states import SUBMISSION
from storage.events import event_log
from storage.events.event_log import NewEvent
from storage.records import (
    PROVENANCE_OF_SOURCE,
    SIGNAL_OF_CHANGE,
    Incoming,
    Recorded,
    TaskRow,
    beginning,
)
from storage.submissions import children, proof, submission_queue
from storage.tasks import aliases, marks
from storage.tasks import rows as tasks

LEAST_BYTES_SHARED = 256
"""A body of this size or more is stored once if it arrives again and changes nothing."""

_UNSENT = frozenset(SUBMISSION.before("adopt", "accepted"))
"""States of a submission that was not sent, if it has no attempt."""

ASKED_AFTER_MS = 1_500
"""How long an end that only a callback reported waits for a receiver's readback before it is polled anyway."""


def ingest(
    connection: Connection,
    batch: list[Incoming],
    wanted_signals: Container[str],
    trusted: Container[str] = (),
) -> list[Recorded]:
    """Append one event for each payload and move the tasks forward; stale payloads are stored and change nothing.

    `wanted_signals` holds the signals that have receivers; events of other signals are not fanned out. `trusted` holds the
    upstreams whose callbacks are believed without a readback.
    """
    batch = _by_their_names(connection, batch)
    known = _held_tasks(connection, batch)
    changed: dict[tuple[str, str], TaskRow] = {}
    rows: list[NewEvent] = []
    recorded: list[Recorded] = []
    for incoming in batch:
        task, key = incoming.task, (incoming.upstream, incoming.task.id)
        is_fact = incoming.source != "callback" or incoming.upstream in trusted
        row = known.get(key)
        moved = advance(None if row is None else Position(row.status, row.progress), position_of(task))
        foreign = _is_of_another(connection, row, incoming)
        if foreign:
            moved = None  # a submission's hook must not change another submission's task
        linked = _linked(connection, row, incoming, is_fact=is_fact)
        if moved is not None:
            linked = _advanced(linked, incoming, moved[0], is_fact=is_fact)
        elif linked is not None and incoming.source == "callback" and not foreign:
            linked = _doubted(linked, incoming)
        if linked is None or linked is not row:
            known[key] = changed[key] = linked or _blank(incoming)
        change = None if moved is None else moved[1]
        copy = "" if change is not None else _copy(connection, incoming)
        signal = None if change is None else SIGNAL_OF_CHANGE[change]
        rows.append(
            _new_event(
                incoming,
                known[key],
                signal,
                advanced=change is not None,
                pending=signal in wanted_signals,
                is_fact=is_fact,
                copy=copy,
            )
        )
        asks = known[key].ask_at_ms == incoming.received_at_ms
        lacks = (row is None or row.submission_id is None) and _is_unknown(connection, incoming)
        recorded.append(
            Recorded(
                change=change,
                asks=asks,
                lacks_submission=lacks,
                is_new=row is None or not row.status,
                is_copy=bool(copy),
            )
        )
    event_log.append(connection, *rows)
    if changed:
        tasks.put(connection, *changed.values())
    for row in changed.values():
        if row.confirmed and row.finished_at_ms is not None:
            for submission_id in charges.payers(connection, row.upstream, row.id):
                charges.follow(connection, submission_id)
    return recorded


def _by_their_names(connection: Connection, batch: list[Incoming]) -> list[Incoming]:
    """The batch with aliases replaced by their tasks' ids, and with the submissions whose marks the payloads carry."""
    task_ids: dict[tuple[str, str], str] = {}
    for upstream in {incoming.upstream for incoming in batch}:
        ids = {incoming.task.id for incoming in batch if incoming.upstream == upstream}
        named = aliases.names(connection, upstream, ids)
        task_ids |= {(upstream, name): task_id for name, task_id in named.items()}
    return [_about(incoming, task_ids) for incoming in batch]


def _about(incoming: Incoming, names: Mapping[tuple[str, str], str]) -> Incoming:
    if not incoming.submission_id and (mark := marks.mark_in_state(incoming.task.state)):
        incoming = msgspec.structs.replace(incoming, submission_id=mark)
    if task_id := names.get((incoming.upstream, incoming.task.id)):
        task = msgspec.structs.replace(incoming.task, id=task_id)
        incoming = msgspec.structs.replace(incoming, task=task)
    return incoming


def _held_tasks(connection: Connection, batch: list[Incoming]) -> dict[tuple[str, str], TaskRow]:
    """Lock and read the rows of the batch's tasks. The submissions that may be tied to them are locked before."""
    ids: dict[str, set[str]] = {}
    for incoming in batch:
        ids.setdefault(incoming.upstream, set()).add(incoming.task.id)
    now_ms = batch[0].received_at_ms
    if many_writers(connection):
        untied = {incoming.submission_id for incoming in batch if incoming.submission_id}
        for upstream, wanted in ids.items():
            tied = {row.submission_id for row in tasks.find_all(connection, upstream, wanted).values()}
            untied -= {submission_id for submission_id in tied if submission_id is not None}
        locks.submissions(connection, list(untied))
    return {
        (upstream, task_id): row
        for upstream in sorted(ids)
        for task_id, row in tasks.hold(connection, upstream, ids[upstream], now_ms).items()
    }


def _is_of_another(connection: Connection, row: TaskRow | None, incoming: Incoming) -> bool:
    """True if a payload arrived on a submission's hook, and its task belongs to another submission."""
    if row is None or not incoming.submission_id or row.submission_id in (None, incoming.submission_id):
        return False
    submission = submission_queue.find(connection, incoming.submission_id)
    return submission is None or row.id not in submission.task_ids


def _linked(
    connection: Connection, row: TaskRow | None, incoming: Incoming, *, is_fact: bool
) -> TaskRow | None:
    """The row tied to the submission in the hook's path; the row unchanged if there is nothing to tie.

    A callback alone ties nothing, because anybody who has seen a hook can post to it. Unless the submission's own answer
    named the task, the upstream is polled at once, and no receiver gets the task before (storage/events/event_log.py).
    """
    if not incoming.submission_id or (row is not None and row.submission_id is not None):
        return row
    submission = submission_queue.find(connection, incoming.submission_id)
    if submission is None or submission.upstream != incoming.upstream:
        return row
    if not is_fact and incoming.task.id not in submission.task_ids:
        return msgspec.structs.replace(row or _blank(incoming), ask_at_ms=incoming.received_at_ms)
    proof.prove(connection, submission, incoming.task.id, incoming.received_at_ms)
    return children.placed(row or _blank(incoming), submission)


def _copy(connection: Connection, incoming: Incoming) -> str:
    """The event that already holds the body of a stale callback, or "": repeated bodies must not fill the disk."""
    if incoming.source != "callback" or len(incoming.task.raw) < LEAST_BYTES_SHARED:
        return ""
    return event_log.copy_of(connection, incoming.upstream, incoming.task.id, incoming.task.raw)


def _is_unknown(connection: Connection, incoming: Incoming) -> bool:
    """True if a payload names a submission that this database never had, or has not sent."""
    if incoming.source != "callback" or not incoming.submission_id:
        return False
    known = submission_queue.find(connection, incoming.submission_id)
    if known is not None:
        return not known.attempts and known.state in _UNSENT
    return not submission_queue.is_spent(connection, incoming.submission_id)


def _blank(incoming: Incoming) -> TaskRow:
    """The row of an unknown task. If its payload names the task it was pressed on, that is its parent for now."""
    row = tasks.blank(incoming.upstream, incoming.task.id, incoming.received_at_ms)
    return msgspec.structs.replace(row, parent_id=incoming.task.pressed_on)


def _advanced(row: TaskRow | None, incoming: Incoming, position: Position, *, is_fact: bool) -> TaskRow:
    row = row or _blank(incoming)
    ended = position.status in TERMINAL
    ask_at_ms = incoming.received_at_ms + ASKED_AFTER_MS if ended and not is_fact else None
    return msgspec.structs.replace(
        row,
        status=position.status,
        progress=position.progress,
        action=incoming.task.action or row.action,
        prompt=beginning(incoming.task.prompt) or row.prompt,
        updated_at_ms=incoming.received_at_ms,
        misses=0,
        finished_at_ms=incoming.received_at_ms if ended else None,
        confirmed=is_fact,
        ask_at_ms=ask_at_ms if row.ask_at_ms is None or is_fact else row.ask_at_ms,
        made_by=row.made_by or incoming.task.made_by,
        shown=digest_of(incoming.task) if ended else "",
    )


def _doubted(row: TaskRow, incoming: Incoming) -> TaskRow:
    """The row of an ended task, to be polled at once if a callback reports another end, or more to show."""
    task = incoming.task
    if row.finished_at_ms is None or not task.is_finished or row.ask_at_ms is not None:
        return row
    if task.status == row.status and digest_of(task) == row.shown:
        return row
    return msgspec.structs.replace(row, ask_at_ms=incoming.received_at_ms)


def _detail(task: Task) -> str:
    """A note for people about anything odd in a payload."""
    swapped = f"shows image {task.image_number}, but another image was pressed" if task.is_swapped else ""
    return swapped or task.oddity


def _new_event(
    incoming: Incoming,
    row: TaskRow,
    signal: str | None,
    *,
    advanced: bool,
    pending: bool,
    is_fact: bool,
    copy: str,
) -> NewEvent:
    task = incoming.task
    odd = _detail(task) if advanced or task.oddity else ""
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
        detail=f"{copy}: {odd}" if copy and odd else copy or odd,
        payload=b"" if copy else task.raw,
        received_at_ms=incoming.received_at_ms,
        provenance="confirmed"
        if is_fact and incoming.source == "callback"
        else PROVENANCE_OF_SOURCE[incoming.source],
    )
