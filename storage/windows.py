"""Windows that were lost: the action that opened one is repeated, and its answer is given again."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from sqlalchemy import Connection, and_, bindparam, select

from storage import schema, settlements, submissions, tasks
from storage.records import Submission
from storage.settlements import Settlement

_table = schema.submissions


def repeat_action(
    connection: Connection,
    modal: Submission,
    settlement: Settlement,
    now_ms: int,
    *,
    delay_ms: Callable[[int], int],
    most: int,
) -> int:
    """The upstream deleted the window with its refusal: end its answer, and have the action that opened it repeated.

    Source: Plus 3.7.5, where a modal that meets a full queue (23) takes its MODAL task with it. `delay_ms` tells how
    long to wait after so many tries of the action; after `most` of them it is dead. Returns when it runs, 0 if never.
    """
    lost = msgspec.structs.replace(
        settlement, state="rejected", outcome=WINDOW_LOST, signal=None, task_ids=(), run_at_ms=0
    )
    settlements.settle_attempt(connection, modal, lost, now_ms)
    window = tasks.find(connection, modal.upstream, modal.parent_id)
    action = (
        None
        if window is None or window.submission_id is None
        else submissions.find(connection, window.submission_id)
    )
    if action is None:
        return 0
    spent = action.tries >= most
    run_at_ms = now_ms + delay_ms(action.tries)
    submissions.move(
        connection,
        action.id,
        from_states=["needs_modal"],
        to="dead" if spent else "waiting",
        outcome=WINDOW_LOST,
        reason=f"its window {modal.parent_id} was deleted: {settlement.reason}",
        run_at_ms=run_at_ms,
        now_ms=now_ms,
    )
    return 0 if spent else run_at_ms


WINDOW_LOST = "window_lost"
"""Outcome of a modal whose window went away before it was answered."""

_lost_answer = (
    select(*submissions.SUBMISSION_COLUMNS)
    .join(
        schema.tasks,
        and_(
            schema.tasks.c.upstream == _table.c.upstream,
            schema.tasks.c.id == _table.c.parent_id,
            schema.tasks.c.submission_id == bindparam("action_id"),
        ),
    )
    .where(_table.c.kind == "modal", _table.c.outcome == WINDOW_LOST)
    .order_by(_table.c.updated_at_ms.desc())
    .limit(1)
)


def lost_answer(connection: Connection, action: Submission) -> Submission | None:
    """The answer to an earlier window of this action that was lost with it, or None."""
    row = connection.execute(_lost_answer, {"action_id": action.id}).first()
    return None if row is None else submissions.submission_of(row)
