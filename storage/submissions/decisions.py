"""Decides approvals: releases or drops the submissions that one holds, all of them, in one transaction.

The first decision counts, whoever makes it: the update of the approval's row finds it open only once. Locks are taken in one order:
submissions first, then their approval.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from sqlalchemy import Connection

from storage.driver import locks
from storage.events import event_log
from storage.records import Approval, DecidedFrom, Submission
from storage.submissions import approvals, dead_submissions
from storage.submissions import sql_approvals as sql
from storage.submissions.submission_queue import find, move

Verdict = Literal["released", "dropped"]


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """An approval after a decision. `counts` is False if it had been decided, or had expired, before.

    `moved` is the number of its submissions that were released or dropped; `over_budget` says why some were refused instead.
    """

    approval: Approval
    counts: bool
    moved: int = 0
    over_budget: tuple[str, ...] = ()


def decide(
    connection: Connection, approval_id: str, verdict: Verdict, *, by: str, source: DecidedFrom, now_ms: int
) -> Decided | None:
    """Release or drop what an approval holds; None if there is no such approval.

    A decision after the end of its time comes too late: the approval expires instead.
    """
    approval = approvals.find(connection, approval_id)
    if approval is None:
        return None
    if approval.is_open and now_ms >= approval.expires_at_ms:
        expired = expire(connection, approval_id, now_ms)
        return None if expired is None else msgspec.structs.replace(expired, counts=False)
    return _decide(connection, approval, verdict, by=by, source=source, now_ms=now_ms)


def expire(connection: Connection, approval_id: str, now_ms: int) -> Decided | None:
    """Do with an approval whose time is over what its rule wants; None if there is no such approval."""
    approval = approvals.find(connection, approval_id)
    if approval is None:
        return None
    if approval.is_open and now_ms < approval.expires_at_ms:
        return Decided(approval=approval, counts=False)  # the clock was set in the meantime
    verdict: Verdict = "released" if approval.otherwise == "send" else "dropped"
    return _decide(connection, approval, verdict, by="", source="expiry", now_ms=now_ms)


def _decide(
    connection: Connection, approval: Approval, verdict: Verdict, *, by: str, source: DecidedFrom, now_ms: int
) -> Decided:
    held = sql.HELD.all(connection, approval_id=approval.id)
    locks.submissions(connection, held)
    counts = sql.DECIDE(connection, id=approval.id, state=verdict, now_ms=now_ms, by=by, source=source) == 1
    decided = approvals.find(connection, approval.id)
    assert decided is not None, (
        "approvals are dropped only with their chain, and a chain with held submissions is kept"
    )
    if not counts:
        return Decided(approval=decided, counts=False)
    reason = f"{verdict} {_how(decided)}"
    if verdict == "dropped":
        moved = sum(_decline(connection, one, reason, now_ms) for one in held)
        return Decided(approval=decided, counts=True, moved=moved)
    released = [one for one in held if _approve(connection, one, reason, now_ms)]
    whys = [dead_submissions.charge_again(connection, one, now_ms, how="approved") for one in released]
    refused = tuple(why for why in whys if why)
    return Decided(approval=decided, counts=True, moved=len(released) - len(refused), over_budget=refused)


def _how(approval: Approval) -> str:
    """By whom and from where, as the reason of a submission has it."""
    if approval.decided_from == "expiry":
        return "because its approval expired"
    who = f"by {approval.decided_by} " if approval.decided_by else ""
    return f"{who}({approval.decided_from})"


def _approve(connection: Connection, submission_id: str, reason: str, now_ms: int) -> bool:
    """Let a submission wait as if it had been requested now: with its delay, and behind what came in the meantime."""
    submission = find(connection, submission_id)
    assert submission is not None, "its row is locked"
    if (child := sql.PRESSED_ELSEWHERE.first(connection, id=submission_id)) is not None:
        _exists(connection, submission, child, now_ms)
        return False
    delay_ms = submission.run_at_ms - submission.created_at_ms
    if not move(
        connection,
        submission_id,
        by="approve",
        to="waiting",
        reason=reason,
        run_at_ms=now_ms + delay_ms,
        now_ms=now_ms,
    ):
        return False
    sql.QUEUE_AGAIN(connection, id=submission_id, now_ms=now_ms)
    return True


def _exists(connection: Connection, submission: Submission, child: str, now_ms: int) -> None:
    """Somebody else has pressed the button while it was held: nothing is sent, and nothing paid."""
    reason = f"task {child} was made by this button while it was held"
    if not move(
        connection,
        submission.id,
        by="approve",
        to="existed",
        outcome="existed",
        reason=reason,
        run_at_ms=now_ms,
        now_ms=now_ms,
    ):
        return
    sql.SET_TASKS(connection, id=submission.id, task_ids=msgspec.json.encode([child]).decode())
    fact = event_log.fact(
        upstream=submission.upstream,
        task_id=child,
        submission_id=submission.id,
        signal="submission.existed",
        source="evidence",
        status="existed",
        detail=reason,
        now_ms=now_ms,
    )
    event_log.append(connection, fact)


def _decline(connection: Connection, submission_id: str, reason: str, now_ms: int) -> bool:
    return move(
        connection,
        submission_id,
        by="decline",
        to="rejected",
        outcome="dropped",
        reason=reason,
        run_at_ms=now_ms,
        now_ms=now_ms,
    )
