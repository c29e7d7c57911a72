"""Approvals: opens one for each firing whose submissions are held, and finds them. storage/submissions/decisions.py decides them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from sqlalchemy import Connection

from storage.records import Approval, ApprovalTerms, ClaimedDelivery, DecidedFrom, Submission, TaskRow
from storage.submissions import sql_approvals as sql


def new_id(now_ms: int) -> str:
    """The id of a new approval. It is no secret: the token in its link is."""
    return f"{now_ms:011x}{secrets.token_hex(4)}"


def opened(
    approval_id: str, claimed: ClaimedDelivery, terms: ApprovalTerms, chain_id: str, now_ms: int
) -> Approval:
    """The approval of a firing. Raises nothing; `open_all` stores it."""
    return Approval(
        id=approval_id,
        asked_by=claimed.delivery.receiver,
        chain_id=chain_id,
        upstream=claimed.event.upstream,
        task_id=claimed.event.task_id,
        event_id=claimed.event.id,
        state="open",
        otherwise=terms.otherwise,
        asked_at_ms=now_ms,
        expires_at_ms=now_ms + terms.for_ms,
        decided_at_ms=None,
        decided_by="",
        decided_from="",
    )


def open_all(connection: Connection, approvals: Sequence[Approval]) -> None:
    """Store new approvals, in the transaction that stages their submissions."""
    sql.OPEN.all_at_once(connection, [_row(one) for one in approvals])


def _row(approval: Approval) -> dict[str, object]:
    return {name: getattr(approval, name) for name in approval.__struct_fields__}


def find(connection: Connection, approval_id: str) -> Approval | None:
    """One approval, or None."""
    return sql.APPROVAL.first(connection, id=approval_id)


def of_firing(connection: Connection, event_id: int, asked_by: str) -> Approval | None:
    """The approval of a receiver's firing for an event, or None."""
    return sql.OF_FIRING.first(connection, event_id=event_id, asked_by=asked_by)


def of_submission(connection: Connection, submission_id: str) -> Approval | None:
    """The approval that a submission was or is held for, or None."""
    return sql.OF_SUBMISSION.first(connection, submission_id=submission_id)


def of_chain(connection: Connection, chain_id: str) -> list[Approval]:
    """All approvals of a chain, oldest first."""
    return sql.OF_CHAIN.all(connection, chain_id=chain_id)


def of_task(connection: Connection, row: TaskRow) -> list[Approval]:
    """The approvals that a task led to, oldest first."""
    return sql.OF_TASK.all(connection, chain_id=row.chain_id, upstream=row.upstream, task_id=row.id)


def submissions_of(connection: Connection, approval_id: str) -> list[Submission]:
    """The submissions that an approval is about, also those that it holds no longer, oldest first."""
    return sql.SUBMISSIONS.all(connection, approval_id=approval_id)


def expired(connection: Connection, now_ms: int, most: int) -> list[str]:
    """The ids of open approvals whose time is over, those that expired first before others."""
    return sql.EXPIRED.all(connection, now_ms=now_ms, most=most)


def count_open(connection: Connection) -> int:
    """The number of open approvals."""
    return sql.COUNT_OPEN.one(connection)


def close_if_empty(
    connection: Connection, submission_id: str, now_ms: int, *, by: str, source: DecidedFrom
) -> None:
    """Close the approval of a submission that is no longer held, if it holds no other: there is nothing left to decide."""
    approval = of_submission(connection, submission_id)
    if approval is not None and approval.is_open:
        sql.DECIDE_IF_EMPTY(connection, id=approval.id, state="released", now_ms=now_ms, by=by, source=source)
