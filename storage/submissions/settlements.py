"""Settles attempts by their answer, or the lack of one. Later proof and a person's decision are in storage/submissions/proof.py.

The outcome of a submission, its tasks, and the event about it are written together. An answer that arrives after its submission
became uncertain, because its worker seemed to be gone, still counts: it is the best information there is.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from sqlalchemy import Connection

from storage.budgets import charges
from storage.driver import locks
from storage.duty import protocol
from storage.duty.duties import SUBMISSIONS
from storage.duty.held import Held
from storage.errors import LeaseLost
from storage.events import event_log
from storage.records import Submission, SubmissionState
from storage.submissions import children, sql
from storage.tasks import chains


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of an attempt. `signal` None: the event has no signal; `run_at_ms` matters for the state "waiting".

    `excused`: the attempt does not count as a try. `code`: the code of the answer, as the upstream sent it. `retry_after_s`: how long the upstream asked hookchain to wait.
    """

    state: SubmissionState
    outcome: str
    reason: str
    task_ids: tuple[str, ...] = ()
    signal: str | None = None
    run_at_ms: int = 0
    http_status: int | None = None
    code: int | str | None = None
    answer: bytes = b""
    child_status: str = ""
    child_action: str = ""
    retry_after_s: float | None = None
    excused: bool = False


def settle_attempt(
    connection: Connection,
    submission: Submission,
    settlement: Settlement,
    now_ms: int,
    *,
    by: Literal["settle", "give_back"] = "settle",
) -> None:
    """Record the outcome of an attempt, its tasks, and the answer as an event, all together.

    An attempt without a clear answer, or one that would be repeated, is accepted anyway if a task with its mark has called back
    already. A task named in the answer to an earlier attempt does not count: it was a modal that was deleted.
    Raises `LeaseLost` if this attempt is no longer the current one.
    """
    locks.submissions(connection, [submission.id])
    if settlement.state in ("uncertain", "waiting") and (known := children.new(connection, submission)):
        settlement = msgspec.structs.replace(
            settlement,
            state="accepted",
            task_ids=tuple(known),
            signal="submission.accepted",
            excused=False,
            reason=f"{settlement.reason}; but task {known[0]} carries its mark",
        )
    _end_attempt(connection, submission, settlement, now_ms)
    protocol.finish(
        connection,
        SUBMISSIONS,
        Held(submission.id, submission.attempts),
        by=by,
        to=settlement.state,
        excused=settlement.excused,
        run_at_ms=settlement.run_at_ms or submission.run_at_ms,
        now_ms=now_ms,
        outcome=settlement.outcome,
        reason=settlement.reason,
        task_ids=msgspec.json.encode(settlement.task_ids).decode(),
    )
    is_only = len(settlement.task_ids) == 1
    for task_id in settlement.task_ids:
        name = children.joined(connection, submission, task_id, is_only=is_only)
        status, action = settlement.child_status, settlement.child_action
        children.tie(connection, submission, name, now_ms, status=status, action=action)
    charges.follow(connection, submission.id)
    if not submission.parent_id and settlement.task_ids:
        chains.set_root(connection, submission.chain_id, settlement.task_ids[0])
    if settlement.signal is not None:
        event_log.record(
            connection,
            upstream=submission.upstream,
            task_id=settlement.task_ids[0] if settlement.task_ids else submission.parent_id,
            submission_id=submission.id,
            source="answer",
            signal=settlement.signal,
            action=settlement.child_action,
            status=settlement.outcome,
            detail=settlement.reason,
            payload=settlement.answer,
            now_ms=now_ms,
        )


def _end_attempt(connection: Connection, submission: Submission, settlement: Settlement, now_ms: int) -> None:
    finished = sql.FINISH_ATTEMPT(
        connection,
        submission_id=submission.id,
        number=submission.attempts,
        now_ms=now_ms,
        http_status=settlement.http_status,
        outcome=settlement.outcome,
        reason=settlement.reason,
        answer=settlement.answer,
    )
    if finished != 1:  # this settlement was committed before, but the confirmation of the commit was lost
        raise LeaseLost(f"submission {submission.id}, attempt {submission.attempts}")
