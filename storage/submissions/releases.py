"""Releases submissions that a budget refused, or that need an approval, because a person wants them: the same intent, sent once."""

from __future__ import annotations

from sqlalchemy import Connection

from storage.budgets import charges
from storage.driver import locks
from storage.submissions import approvals, sql, sql_approvals
from storage.submissions.submission_queue import find, move
from storage.tasks import chains


def release(
    connection: Connection, submission_id: str, now_ms: int, *, by: str, request: bytes = b""
) -> bool:
    """Release a submission that a budget refused, optionally with another request, which is safe because it was never sent.

    It is sent even if the budgets are used up, and is charged to them. `asked_by` becomes the person. False if it was not
    refused.
    """
    return _release(connection, submission_id, now_ms, by=by, request=request, anyway=True) == ""


def press_again(
    connection: Connection, submission_id: str, now_ms: int, *, by: str, request: bytes = b""
) -> str:
    """Release a refused submission because a person requests the same, if the budgets that also apply to people have room.

    Returns why there is no room, or "". One that somebody else has released in the meantime counts as released.
    """
    why = _release(connection, submission_id, now_ms, by=by, request=request, anyway=False)
    if why:
        sql.SET_REFUSAL(connection, id=submission_id, reason=why, now_ms=now_ms)
    return why or ""


def take_over(
    connection: Connection, submission_id: str, now_ms: int, *, by: str, request: bytes = b""
) -> str | None:
    """Release a held submission because a person requests the same: it is theirs then, and sent at once. The others of its approval
    stay held; if there is none, the approval is closed.

    Returns why the budgets that also apply to people have no room, or ""; without room it stays held. None if somebody
    has decided about it in the meantime.
    """
    locks.submissions(connection, [submission_id])
    submission = find(connection, submission_id)
    if submission is None or submission.state != "held":
        return None
    sql.SET_ASKED_BY(connection, id=submission_id, asked_by=by)
    if request:
        sql.SET_REQUEST(connection, id=submission_id, request=request)
    if why := charges.renew(connection, submission_id, now_ms):
        sql.SET_ASKED_BY(connection, id=submission_id, asked_by=submission.asked_by)
        sql.SET_REQUEST(connection, id=submission_id, request=submission.request)
        return why
    move(
        connection,
        submission_id,
        by="take_over",
        to="waiting",
        reason=f"requested by hand while {submission.asked_by} waited for an approval",
        run_at_ms=now_ms,
        now_ms=now_ms,
    )
    sql_approvals.QUEUE_AGAIN(connection, id=submission_id, now_ms=now_ms)
    approvals.close_if_empty(connection, submission_id, now_ms, by=by, source="press")
    return ""


def _release(
    connection: Connection, submission_id: str, now_ms: int, *, by: str, anyway: bool, request: bytes = b""
) -> str | None:
    """Returns why there is no room, "" if it is released, None if it was not refused."""
    locks.submissions(connection, [submission_id])
    submission = find(connection, submission_id)
    if submission is None or submission.state != "refused":
        return None
    if request:
        sql.SET_REQUEST(connection, id=submission_id, request=request)
    sql.SET_ASKED_BY(connection, id=submission_id, asked_by=by)
    if why := charges.renew(connection, submission_id, now_ms, anyway=anyway):
        sql.SET_ASKED_BY(connection, id=submission_id, asked_by=submission.asked_by)
        return why
    move(
        connection,
        submission_id,
        by="release",
        to="waiting",
        reason=f"released by hand; {submission.asked_by} was refused it: {submission.reason}",
        run_at_ms=now_ms,
        now_ms=now_ms,
    )
    chains.count_submission(connection, submission.chain_id, by_hand=True)
    return ""
