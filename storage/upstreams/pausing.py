"""Pauses an upstream that reports a problem with its account or credit. A person resumes it (`standings.resume`).

Only the upstream's own report counts: its answer to a submit, or a failure that a readback or poll confirmed. A callback alone never
counts, because anybody who knows a hook can send one. A pause because of a restored copy is in storage/upstreams/restores.py: it ends by
itself once nothing is missing.
"""

from __future__ import annotations

import structlog
from sqlalchemy import Connection

from midjourney.failures import refusal_kind, stops_everything, words_of
from midjourney.types import Task
from storage.records import Submission, TaskRow
from storage.submissions import submission_queue
from storage.submissions.settlements import Settlement
from storage.upstreams import sql
from storage.upstreams.standings import add

log = structlog.get_logger("hookchain")

LONGEST_REASON = 300
"""Characters of the upstream's message that are stored."""


def replace_reason(connection: Connection, upstream: str, beginning: str, reason: str) -> None:
    """Replace the reason of a pause, if it begins with `beginning`."""
    kept = reason.replace("\0", "")[:LONGEST_REASON]
    sql.REPLACE_REASON(connection, name=upstream, pattern=f"{beginning}%", reason=kept)


def on_refusal(connection: Connection, submission: Submission, settlement: Settlement, now_ms: int) -> bool:
    """Pause the upstream if its answer to a submission means that all others would fail too. True if this paused it."""
    kind = refusal_kind(settlement.outcome, settlement.reason)
    if not stops_everything(kind, settlement.reason):
        return False
    reason = f"{kind}: {words_of(settlement.reason)}"
    return pause_for_failure(
        connection, submission.upstream, reason, now_ms, sent_at_ms=submission.started_at_ms
    )


def on_confirmed_failure(connection: Connection, row: TaskRow, task: Task, now_ms: int) -> bool:
    """Pause the upstream likewise if the confirmed failure of one of our tasks means so. True if this paused it.

    Call it in the transaction that confirms the failure, with the task as the upstream reported it, and never for a callback.
    """
    if row.submission_id is None or not stops_everything(task.failure_kind, task.fail_reason):
        return False
    submission = submission_queue.find(connection, row.submission_id)
    if submission is None or submission.upstream != row.upstream:
        return False
    reason = f"{task.failure_kind}: {task.fail_reason}"
    return pause_for_failure(connection, row.upstream, reason, now_ms, sent_at_ms=submission.started_at_ms)


def pause_for_failure(
    connection: Connection, upstream: str, reason: str, now_ms: int, *, sent_at_ms: int | None = None
) -> bool:
    """Pause an upstream, and log it. False if it is paused already.

    A request sent (`sent_at_ms`) before a person last resumed the upstream does not pause it: the person knew about the problem.
    """
    add(connection, [upstream])
    kept = reason.replace("\0", "")[:LONGEST_REASON]
    sent = now_ms if sent_at_ms is None else sent_at_ms
    if not sql.PAUSE(connection, name=upstream, sent_at_ms=sent, reason=kept, now_ms=now_ms):
        return False
    log.warning("upstream paused", upstream=upstream, why=kept, cure=f"hookchain resume {upstream}")
    return True
