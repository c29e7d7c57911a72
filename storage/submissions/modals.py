"""Lost modals: the action that opened the modal is repeated, and the modal is answered again."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from sqlalchemy import Connection

from storage.budgets import charges
from storage.events import event_log
from storage.records import MODAL_LOST, Submission
from storage.submissions import settlements, sql, submission_queue
from storage.submissions.settlements import Settlement
from storage.tasks import rows as tasks


def repeat_action(
    connection: Connection,
    modal: Submission,
    settlement: Settlement,
    now_ms: int,
    *,
    delay_ms: Callable[[int], int],
    most: int,
) -> int:
    """Handle a refusal with which the upstream deleted a modal: end its answer, and repeat the action that opened it.

    Source: Plus 3.7.5, where a full queue (23) deletes the MODAL task that is being answered. `delay_ms` gives the wait after
    that many tries of the action; after `most` tries it is dead. Returns when the action runs, or 0 if never.
    """
    lost = msgspec.structs.replace(
        settlement, state="rejected", outcome=MODAL_LOST, signal=None, task_ids=(), run_at_ms=0
    )
    settlements.settle_attempt(connection, modal, lost, now_ms)
    its_modal = tasks.find(connection, modal.upstream, modal.parent_id)
    action = (
        None
        if its_modal is None or its_modal.submission_id is None
        else submission_queue.find(connection, its_modal.submission_id)
    )
    if action is None:
        return 0
    spent = action.tries >= most
    run_at_ms = now_ms + delay_ms(action.tries)
    reason = f"its modal {modal.parent_id} was deleted: {settlement.reason}"
    moved = submission_queue.move(
        connection,
        action.id,
        # Also from "accepted": its own answer may have been lost, and the modal that it opened proved it.
        by="repeat",
        to="dead" if spent else "waiting",
        outcome=MODAL_LOST,
        reason=reason,
        run_at_ms=run_at_ms,
        now_ms=now_ms,
    )
    charges.follow(connection, action.id)
    if moved and spent:
        event_log.append(
            connection,
            event_log.fact(
                upstream=action.upstream,
                task_id=action.parent_id,
                submission_id=action.id,
                source="answer",
                signal="submission.dead",
                status=MODAL_LOST,
                detail=reason,
                now_ms=now_ms,
            ),
        )
    return run_at_ms if moved and not spent else 0


def lost_answer(connection: Connection, action: Submission) -> Submission | None:
    """The answer to an earlier modal of this action that was lost with the modal, or None."""
    return sql.LOST_ANSWER.first(connection, action_id=action.id)
