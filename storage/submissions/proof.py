"""Settles uncertain submissions: by proof, or by a person's decision."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from storage.budgets import charges
from storage.duty.states import SUBMISSION
from storage.events import event_log
from storage.records import Submission
from storage.submissions import children
from storage.submissions import sql_evidence as sql
from storage.submissions.submission_queue import move
from storage.tasks import chains


def prove(connection: Connection, submission: Submission, task_id: str, now_ms: int) -> None:
    """Accept an uncertain submission because a task carries its mark, which proves that the upstream took it.

    A submission that is being sent is left to its answer, which says more; a settled one needs no proof. The answer to a modal
    carries no mark: its proof is that the modal has moved on.
    """
    why = (
        f"modal {task_id} was answered" if submission.kind == "modal" else f"task {task_id} carries its mark"
    )
    proven = sql.PROVE(
        connection,
        submission_id=submission.id,
        before=SUBMISSION.before("prove", "accepted"),
        reason=why,
        task_ids=msgspec.json.encode((*submission.task_ids, task_id)).decode(),
        now_ms=now_ms,
    )
    if proven:
        charges.follow(connection, submission.id)
        if not submission.parent_id:
            chains.set_root(connection, submission.chain_id, task_id)
        event_log.append(
            connection,
            event_log.fact(
                upstream=submission.upstream,
                task_id=task_id,
                submission_id=submission.id,
                source="evidence",
                signal="submission.accepted",
                status="accepted",
                detail=why,
                now_ms=now_ms,
            ),
        )


def settle_by_hand(
    connection: Connection, submission: Submission, *, accepted: bool, task_id: str, now_ms: int
) -> bool:
    """Settle an uncertain submission as a person decides; False if it was not uncertain.

    If accepted, its task (if named) takes its place in the chain; if not accepted, it is sent again.
    """
    settled = move(
        connection,
        submission.id,
        by="settle_by_hand",
        to="accepted" if accepted else "waiting",
        outcome="accepted" if accepted else "",
        reason="a person says that it was accepted" if accepted else "a person says that it was not accepted",
        run_at_ms=now_ms,
        now_ms=now_ms,
    )
    if settled and accepted and task_id:
        ids = msgspec.json.encode((*submission.task_ids, task_id)).decode()
        sql.SET_TASKS(connection, submission_id=submission.id, task_ids=ids)
        children.tie(connection, submission, task_id, now_ms)
        charges.follow(connection, submission.id)
        if not submission.parent_id:
            chains.set_root(connection, submission.chain_id, task_id)
    if settled and accepted:
        event_log.append(
            connection,
            event_log.fact(
                upstream=submission.upstream,
                task_id=task_id or submission.parent_id,
                submission_id=submission.id,
                source="evidence",
                signal="submission.accepted",
                status="accepted",
                detail="settled by hand",
                now_ms=now_ms,
            ),
        )
    return settled
