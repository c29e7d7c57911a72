"""Recorded events with the context for receivers, to try rules on past events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from sqlalchemy import Connection

from storage.deliveries import delivery_queue, firings
from storage.deliveries.sql import CONTEXTS
from storage.events import event_log
from storage.joins import members
from storage.reading import roots
from storage.reading.sql_history import NEWEST_ID, READ_BACK, RECEIVED_AFTER, RECORDED, WITH_MOVES
from storage.records import JOINED, ClaimedDelivery, Delivery, Event, Submission, SubmissionState, TaskRow

A_PAGE = 1000

SET_BACK_MS = 24 * 3_600_000
"""How far a clock may have been set back without an event being missed: ids grow with time, except where a clock was set back."""


def recorded(
    connection: Connection,
    signals: Iterable[str],
    since_ms: int,
    *,
    with_root: bool = False,
    with_moves: bool = False,
) -> Iterator[ClaimedDelivery]:
    """Every event that gave one of these signals, oldest first, as a claimed delivery that does not exist in the database.

    Payloads, and what a submission's own event says of it, are those of the time. All else of tasks, chains and submissions is in its
    present state. Of the end of a task that a callback told, the payload is what the upstream showed when it was read back, and it
    `is_unverified` unless the server's own receivers are known to have seen that. `with_root`: read the first task of each chain too. `with_moves`: also events without a signal that changed a task, or
    what waits.
    """
    after, wanted = _before(connection, since_ms), list(signals)
    statement = WITH_MOVES if with_moves else RECORDED
    while True:
        rows = statement.all(connection, after=after, since_ms=since_ms, signals=wanted, most=A_PAGE)
        for row in rows:
            event = row.event
            latest, is_unverified = _shown(connection, event)
            claimed = ClaimedDelivery(
                delivery=_delivery(event),
                event=event,
                task=row.task if latest else _without_status(row.task),
                chain=row.chain,
                submission=_as_it_was(row.submission, event),
                latest=latest,
                parent=row.parent or b"",
                is_unverified=is_unverified,
                members=members.of_join(connection, event.signal, row.chain),
                # With moves, whoever reads this has the tasks and finds their roots.
                root_id=firings.root_of(connection, event.upstream, event.task_id)
                if event.task_id and not with_moves
                else "",
            )
            if with_root:
                root = roots.of_event(connection, claimed, as_it_was=True)
                claimed = msgspec.structs.replace(claimed, root=root)
            yield claimed
        if len(rows) < A_PAGE:
            return
        after = rows[-1].event.id


def _shown(connection: Connection, event: Event) -> tuple[bytes, bool]:
    """The payload that receivers acted on, or would have; and True if it is not known whether the upstream showed it at that time.

    The server reads a task back before receivers act on a callback of its end. If the upstream shows more than the callback (its buttons),
    the callback is confirmed, and is no longer marked as what moved its task: the payload that was read is."""
    is_settled = event.provenance == "confirmed" and event.advanced
    if event.source == "callback" and event.signal in JOINED and not is_settled:
        read = READ_BACK.first(
            connection,
            event_id=event.id,
            upstream=event.upstream,
            task_id=event.task_id,
            status=event.status,
        )
        if read is not None and read.payload:
            return read.payload, not read.was_acted_on
        if event.payload:
            return event.payload, True
    if event.advanced or _tells_its_task(event):
        return event.payload, False
    return event_log.latest_at(connection, event.upstream, event.task_id, event.id), False


def _tells_its_task(event: Event) -> bool:
    """True if the payload shows the task, although it may not be marked as what moved it."""
    return event.source in ("callback", "reconcile") and bool(event.payload)


def again(connection: Connection, event_id: int, receiver: str) -> ClaimedDelivery | None:
    """An event as one of its receivers would get it now, with its task and chain as they are, and the root of its chain as far as the upstream
    has confirmed it; None if it is no longer kept."""
    context = CONTEXTS.first(connection, event_ids=[event_id])
    if context is None:
        return None
    payloads = delivery_queue.payloads_of(connection, context)
    claimed = ClaimedDelivery(
        delivery=msgspec.structs.replace(_delivery(context.event), receiver=receiver),
        event=context.event,
        task=context.task,
        chain=context.chain,
        submission=context.submission,
        latest=payloads.latest,
        parent=payloads.parent,
    )
    root = roots.of_event(connection, claimed)
    if (
        root is not None and root.is_unverified
    ):  # nobody asks the upstream here: what only a callback says is unknown
        root = msgspec.structs.replace(root, payload=b"", is_unverified=False)
    return msgspec.structs.replace(claimed, root=root)


_STATE_AFTER: Mapping[str, SubmissionState] = {
    "submission.accepted": "accepted",
    "submission.queued": "accepted",
    "submission.needs_modal": "needs_modal",
    "submission.existed": "existed",
    "submission.rejected": "rejected",
    "submission.uncertain": "uncertain",
    "submission.dead": "dead",
}


def _as_it_was(submission: Submission | None, event: Event) -> Submission | None:
    """A submission as the answer to it left it."""
    state = _STATE_AFTER.get(event.signal or "")
    if submission is None or state is None or event.source != "answer":
        return submission
    return msgspec.structs.replace(submission, state=state, outcome=event.status, reason=event.detail)


def _without_status(task: TaskRow | None) -> TaskRow | None:
    """A task of which nothing had come yet but the answer that named it."""
    return None if task is None else msgspec.structs.replace(task, status="")


def _before(connection: Connection, since_ms: int) -> int:
    """An id before all events since then, found by halving: a search through all older events would read most of the table."""
    before, after = 0, NEWEST_ID.first(connection) or 0
    while after - before > A_PAGE:
        middle = (before + after) // 2
        received_at_ms = RECEIVED_AFTER.first(connection, id=middle)
        if received_at_ms is not None and received_at_ms < since_ms - SET_BACK_MS:
            before = middle
        else:
            after = middle
    return before


def _delivery(event: Event) -> Delivery:
    return Delivery(
        id=0,
        event_id=event.id,
        receiver="",
        lane="",
        state="running",
        attempts=1,
        excused=0,
        run_at_ms=0,
        fired=False,
        decision="",
        error="",
        created_at_ms=event.received_at_ms,
        updated_at_ms=event.received_at_ms,
    )
