"""Records what the upstream itself reports about a task.

The counterpart of ingest. A callback is a hint, and the upstream's report is the fact: it moves the task forward, confirms or
refutes an end, adds what the sender left out (buttons come late), decides which submission the task belongs to, and joins two
ids of one task. Every poll and every readback passes its result to `believe`.
"""

from __future__ import annotations

from collections.abc import Container

import msgspec
from sqlalchemy import Connection

from midjourney.lifecycle import Comparison, Position, compare, position_of
from midjourney.types import TERMINAL, Status, Task, digest_of
from storage.budgets import charges
from storage.driver import locks
from storage.events import event_log
from storage.events.event_log import NewEvent
from storage.records import ALL_SIGNALS, Submission, TaskRow, beginning
from storage.submissions import children, proof, submission_queue
from storage.tasks import aliases, claims, history, news, sql, unverified
from storage.tasks import rows as tasks
from storage.tasks.polling import LOST, REFUTED
from storage.upstreams import pausing

LAG_MS = 1_000
"""For how long an upstream's answers may lag behind its own callback (novicezk issue 252)."""

UNKNOWN_AGAIN_MS = 5_000
"""After this time an unknown task of which only a callback came is polled again: some servers call before they know a task."""

LATE_FOR_MS = 600_000
"""For how long after its SUCCESS a task without buttons is polled: buttons come seconds later, or never."""


class TaskReport(msgspec.Struct, frozen=True, kw_only=True):
    """The upstream's report about one task, requested at `asked_at_ms`; `task` is None if it knows no such task.

    `is_certain`: it was asked twice, or long after the callback that it contradicts. `lacks_buttons`: the task is a SUCCESS
    that should have buttons, and has none. `is_history`: the task ended before hookchain was in use, so that receivers do not
    get it. `listed`: the other tasks in the upstream's list.
    """

    upstream: str
    task_id: str
    task: Task | None
    asked_at_ms: int
    is_certain: bool = False
    lacks_buttons: bool = False
    is_history: bool = False
    listed: tuple[Task, ...] = ()


class Belief(msgspec.Struct, frozen=True, kw_only=True):
    """How a report compared with what was known, and the signal that it gave, if any."""

    comparison: Comparison
    signal: str | None = None


def believe(
    connection: Connection, report: TaskReport, wanted_signals: Container[str] = ALL_SIGNALS, *, now_ms: int
) -> Belief:
    """Record the upstream's report about a task as a fact. Idempotent: a repeated report changes nothing."""
    asked_about = report.task_id
    task_id = aliases.names(connection, report.upstream, [asked_about]).get(asked_about, asked_about)
    report = msgspec.structs.replace(report, task_id=task_id)
    if report.task is None:
        return _unknown(connection, report, now_ms)
    task_id = _called(connection, report, report.task, now_ms)
    task = msgspec.structs.replace(report.task, id=task_id)
    report = msgspec.structs.replace(report, task_id=task_id)
    if report.listed:
        history.keep(connection, report.upstream, report.listed, now_ms)
    owner = _owner_of(connection, report.upstream, task)
    payers = charges.payers(connection, report.upstream, task_id) if task.is_finished else []
    locks.submissions(connection, [*payers, *([owner.id] if owner is not None else [])])
    if owner is not None:
        # Its answer may have been settled while this waited for the lock.
        owner = submission_queue.find(connection, owner.id)
    row = tasks.hold(connection, report.upstream, [task_id], now_ms).get(task_id)
    if asked_about != task_id and tasks.held(connection, report.upstream, asked_about) is not None:
        # A callback was being stored under this id while it became an alias.
        aliases.join(connection, report.upstream, asked_about, task_id)
    row = row or tasks.blank(report.upstream, task_id, now_ms)
    is_nobodys = owner is None and row.submission_id is None and row.chain_id is None
    if is_nobodys and claims.refute_wrong_hooks(connection, report.upstream, task_id):
        if not claims.has_valid_events(connection, report.upstream, task_id):
            tasks.drop(connection, report.upstream, task_id)
            return Belief(comparison=Comparison.CONTRADICTS)
        row = unverified.without_status(row)  # only the refuted callbacks had moved it
    if owner is not None and row.submission_id is None:
        other = children.other_name(connection, owner, task_id)
        if other and len(owner.task_ids) == 1:  # the answer named one task, so both ids are one task
            tasks.put(connection, row)
            aliases.join(connection, report.upstream, task_id, other)
            return believe(
                connection, msgspec.structs.replace(report, task_id=other), wanted_signals, now_ms=now_ms
            )
        proof.prove(connection, owner, task_id, now_ms)
        row = children.placed(row, owner)
    belief = _settle(connection, row, task, report, wanted_signals, now_ms)
    for submission_id in {*payers, *([owner.id] if owner is not None else [])}:
        charges.follow(connection, submission_id)
    return belief


def _owner_of(connection: Connection, upstream: str, task: Task) -> Submission | None:
    """The submission that made a task. Who owns it is looked into until it is settled: that reads many rows."""
    row = tasks.find(connection, upstream, task.id)
    if row is not None and row.submission_id is not None:
        return submission_queue.find(connection, row.submission_id)
    return claims.owner_of(connection, upstream, task)


def _called(connection: Connection, report: TaskReport, task: Task, now_ms: int) -> str:
    """The id of the task. If the upstream's own id differs from one that only a callback used, the upstream's id counts, and the
    callback's becomes an alias: databases that compare ids loosely (case, full-width digits) find one task by many ids."""
    if task.id in ("", report.task_id):
        return report.task_id
    called = aliases.names(connection, report.upstream, [task.id]).get(task.id, task.id)
    if called == report.task_id:
        return called
    row = tasks.held(connection, report.upstream, report.task_id)
    if row is None or row.submission_id is not None or row.confirmed:
        return report.task_id  # an answer of the upstream used this id
    aliases.join(connection, report.upstream, report.task_id, called)
    return called


def _settle(
    connection: Connection,
    row: TaskRow,
    task: Task,
    report: TaskReport,
    wanted_signals: Container[str],
    now_ms: int,
) -> Belief:
    """Update the row to the upstream's report, and append an event for anything new."""
    position = position_of(task)
    known = Position(row.status, row.progress) if row.status not in ("", LOST, REFUTED) else None
    comparison = compare(known, position, confirmed=row.confirmed)
    if (
        comparison is Comparison.CONTRADICTS
        and not report.is_certain
        and report.asked_at_ms < row.updated_at_ms + LAG_MS
    ):
        comparison = Comparison.BEHIND  # so soon after the callback the upstream may just lag behind
        tasks.put(connection, msgspec.structs.replace(row, ask_at_ms=row.updated_at_ms + LAG_MS))
        return Belief(comparison=comparison)
    if comparison is Comparison.BEHIND:
        tasks.put(connection, msgspec.structs.replace(row, ask_at_ms=None))
        return Belief(comparison=comparison)
    if comparison is Comparison.CONTRADICTS:
        unverified.refute_status(
            connection, row, f"the callback says {row.status}, the upstream {task.status}", now_ms
        )
        known = None
    moved = comparison is not Comparison.SAME
    is_kept = not moved and unverified.confirm_if_same(connection, row, task, now_ms)
    signal, detail = (
        news.of_move(connection, row, known, task) if moved else news.of_late_content(connection, row, task)
    )
    if report.is_history and row.submission_id is None and not row.status and signal is not None:
        signal, detail = None, "history: the task ended before hookchain was in use, so no receiver gets it"
    if signal is not None or not is_kept:
        _record(connection, row, task, signal, detail, wanted_signals, now_ms)
    updated_row = _updated(row, task, report, moved, now_ms)
    if updated_row.ask_at_ms is None:
        again_ms = _when_it_may_have_caught_up(connection, row, task, now_ms)
        updated_row = msgspec.structs.replace(updated_row, ask_at_ms=again_ms)
    tasks.put(connection, updated_row)
    if task.status == Status.FAILURE:
        pausing.on_confirmed_failure(connection, row, task, now_ms)
    return Belief(comparison=comparison, signal=signal)


def _updated(row: TaskRow, task: Task, report: TaskReport, moved: bool, now_ms: int) -> TaskRow:
    """The row updated to the upstream's report."""
    ended = task.status in TERMINAL
    position = position_of(task)
    finished_at_ms = now_ms if moved or row.finished_at_ms is None else row.finished_at_ms
    return msgspec.structs.replace(
        row,
        status=position.status if moved else row.status,
        progress=position.progress if moved or ended else row.progress,
        action=task.action or row.action,
        prompt=beginning(task.prompt) or row.prompt,
        updated_at_ms=now_ms if moved else row.updated_at_ms,
        finished_at_ms=finished_at_ms if ended else None,
        misses=0,
        confirmed=True,
        ask_at_ms=_late_at_ms(finished_at_ms, report, now_ms) if ended else None,
        parent_id=row.parent_id or task.pressed_on,
        made_by=task.made_by or row.made_by,
        shown=digest_of(task) if ended else "",
    )


def _when_it_may_have_caught_up(connection: Connection, row: TaskRow, task: Task, now_ms: int) -> int | None:
    """When to poll again if a callback reported an end that the upstream does not show, because it may lag behind: after 2 s,
    then after as long again as has passed; None if there is no need. A confirmed SUCCESS is final."""
    if task.status == Status.SUCCESS:
        return None
    ends = [str(status) for status in TERMINAL if status != task.status]
    ends = ends if not task.is_finished else [str(Status.SUCCESS)]
    reported_ms = sql.END_REPORTED_AT.first(
        connection, upstream=row.upstream, task_id=row.id, ends=ends, since_ms=now_ms - LATE_FOR_MS
    )
    return None if reported_ms is None else now_ms + max(2_000, now_ms - reported_ms)


def _late_at_ms(finished_at_ms: int, report: TaskReport, now_ms: int) -> int | None:
    """When to poll again about an image whose buttons are still missing: after 2, 8, 32, 128 seconds."""
    waited_ms = now_ms - finished_at_ms
    if not report.lacks_buttons or waited_ms > LATE_FOR_MS:
        return None
    return now_ms + max(2_000, 3 * waited_ms)


def _record(
    connection: Connection,
    row: TaskRow,
    task: Task,
    signal: str | None,
    detail: str,
    wanted_signals: Container[str],
    now_ms: int,
) -> None:
    new = NewEvent(
        upstream=row.upstream,
        task_id=row.id,
        submission_id="",
        source="reconcile",
        signal=signal,
        action=task.action or row.action,
        status=task.status,
        progress=task.progress,
        advanced=True,
        pending=signal is not None and signal in wanted_signals,
        detail=detail,
        payload=task.raw,
        received_at_ms=now_ms,
        provenance="polled",
    )
    event_log.append(connection, new)


def _unknown(connection: Connection, report: TaskReport, now_ms: int) -> Belief:
    """Refute a task that the upstream does not know and only callbacks named. A task that the upstream did know counts as missed
    instead (storage/tasks/polling.py)."""
    row = tasks.held(connection, report.upstream, report.task_id)
    if row is None or row.confirmed or row.status == REFUTED:
        return Belief(comparison=Comparison.SAME)
    if row.submission_id is not None and row.finished_at_ms is None:
        return Belief(
            comparison=Comparison.SAME
        )  # an answer named the task, so it may be lost, but was not invented
    unverified.refute_status(connection, row, "the upstream knows no such task", now_ms)
    tasks.put(
        connection,
        msgspec.structs.replace(
            row,
            status=REFUTED,
            updated_at_ms=now_ms,
            finished_at_ms=now_ms,
            ask_at_ms=now_ms + UNKNOWN_AGAIN_MS,
        ),
    )
    return Belief(comparison=Comparison.CONTRADICTS)
