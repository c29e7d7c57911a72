"""How attempts end: by their answer, by proof that comes later, or by a person's word.

What a submission came to, the tasks it made and the event that tells of it are written together. An answer that comes
after its attempt was doubted, since its worker seemed to be gone, counts all the same: nothing knows better.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, and_, bindparam, or_, select, update

from storage import chains, events, locks, schema, tasks
from storage.errors import LeaseLost
from storage.prepared import Prepared
from storage.records import Submission, SubmissionState, TaskRow
from storage.submissions import find, move

submissions, attempts = schema.submissions, schema.attempts


INTERRUPTED = "interrupted"
"""Outcome of an attempt in which our own process stopped, or seemed to."""


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt came to. `signal` None tells nobody; `run_at_ms` counts for the state "waiting".

    `retry_after_s` is how long the upstream asked not to be asked.
    """

    state: SubmissionState
    outcome: str
    reason: str
    task_ids: tuple[str, ...] = ()
    signal: str | None = None
    run_at_ms: int = 0
    http_status: int | None = None
    answer: bytes = b""
    child_status: str = ""
    child_action: str = ""
    retry_after_s: float | None = None


_settle = Prepared(
    update(submissions)
    .where(
        submissions.c.id == bindparam("submission_id"),
        submissions.c.state.in_(bindparam("open_states", expanding=True)),
        submissions.c.attempts == bindparam("number"),
    )
    .values(
        state=bindparam("new_state"),
        outcome=bindparam("new_outcome"),
        reason=bindparam("new_reason"),
        task_ids=bindparam("new_task_ids"),
        run_at_ms=bindparam("new_run_at_ms"),
        updated_at_ms=bindparam("now_ms"),
    )
)
_finish_attempt = Prepared(
    update(attempts)
    .where(
        attempts.c.submission_id == bindparam("of_submission"),
        attempts.c.number == bindparam("of_number"),
        attempts.c.outcome.in_(bindparam("open_outcomes", expanding=True)),
    )
    .values(
        finished_at_ms=bindparam("now_ms"),
        http_status=bindparam("new_http_status"),
        outcome=bindparam("new_outcome"),
        reason=bindparam("new_reason"),
        answer=bindparam("new_answer"),
    )
)


def settle_attempt(
    connection: Connection, submission: Submission, settlement: Settlement, now_ms: int
) -> None:
    """Record what the attempt came to, the tasks it made, and the answer as an event: together.

    An attempt without a clear answer, or one that would be made again, is accepted all the same when a task that carries
    its mark has called already.
    Raises `LeaseLost` when this attempt is no longer the current one.
    """
    locks.submissions(connection, [submission.id])
    if settlement.state in ("uncertain", "waiting") and (known := children(connection, submission.id)):
        settlement = msgspec.structs.replace(
            settlement,
            state="accepted",
            task_ids=tuple(known),
            signal="submission.accepted",
            reason=f"{settlement.reason}; but task {known[0]} carries its mark",
        )
    _finish(connection, submission, settlement, now_ms)
    settled = _settle(
        connection,
        submission_id=submission.id,
        number=submission.attempts,
        open_states=["sending", "uncertain", "waiting"],
        new_state=settlement.state,
        new_outcome=settlement.outcome,
        new_reason=settlement.reason,
        new_task_ids=msgspec.json.encode(settlement.task_ids).decode(),
        new_run_at_ms=settlement.run_at_ms or submission.run_at_ms,
        now_ms=now_ms,
    )
    if settled.rowcount != 1:
        raise LeaseLost(f"submission {submission.id}, attempt {submission.attempts}")
    for task_id in settlement.task_ids:
        _tie(connection, submission, task_id, settlement, now_ms)
    if not submission.parent_id and settlement.task_ids:
        chains.set_root(connection, submission.chain_id, settlement.task_ids[0])
    if settlement.signal is not None:
        events.record(
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


def _finish(connection: Connection, submission: Submission, settlement: Settlement, now_ms: int) -> None:
    finished = _finish_attempt(
        connection,
        of_submission=submission.id,
        of_number=submission.attempts,
        open_outcomes=["sending", INTERRUPTED],
        now_ms=now_ms,
        new_http_status=settlement.http_status,
        new_outcome=settlement.outcome,
        new_reason=settlement.reason,
        new_answer=settlement.answer,
    )
    if finished.rowcount != 1:  # this very settlement was committed, and the word of it was lost
        raise LeaseLost(f"submission {submission.id}, attempt {submission.attempts}")


def _tie(
    connection: Connection, submission: Submission, task_id: str, settlement: Settlement, now_ms: int
) -> None:
    """Give a task that this submission made, or found, its place in the chain; its callback may have come before."""
    known = tasks.hold(connection, submission.upstream, [task_id], now_ms)
    row = known.get(task_id) or tasks.blank(submission.upstream, task_id, now_ms)
    if row.chain_id is None:
        row = placed(row, submission)
    tasks.put(
        connection,
        msgspec.structs.replace(
            row,
            status=row.status or settlement.child_status,
            action=row.action or settlement.child_action,
            updated_at_ms=now_ms,
        ),
    )


def placed(row: TaskRow, submission: Submission) -> TaskRow:
    """The row with its place in the chain of the submission that made it, or that answered it: a window runs on under
    its own id, below whatever it was below before."""
    return msgspec.structs.replace(
        row,
        chain_id=submission.chain_id,
        submission_id=submission.id,
        parent_id=row.parent_id if row.id == submission.parent_id else submission.parent_id,
        depth=submission.depth,
    )


_prove = (
    update(submissions)
    .where(
        submissions.c.id == bindparam("submission_id"),
        or_(
            submissions.c.state.in_(("uncertain", "dead")),
            # Sent before, and about to be sent again; unless its window was lost, which is another matter.
            and_(
                submissions.c.state == "waiting",
                submissions.c.attempts > 0,
                submissions.c.outcome != "window_lost",
            ),
        ),
    )
    .values(
        state="accepted",
        outcome="accepted",
        reason=bindparam("new_reason"),
        task_ids=bindparam("new_task_ids"),
        updated_at_ms=bindparam("now_ms"),
    )
)


def prove(connection: Connection, submission: Submission, task_id: str, now_ms: int) -> None:
    """Settle an uncertain submission: a task that carries its mark exists, so the upstream has it.

    One that is being sent is left to its answer, which tells more; one that is certain needs no proof.
    """
    proven = connection.execute(
        _prove,
        {
            "submission_id": submission.id,
            "new_reason": f"task {task_id} carries its mark",
            "new_task_ids": msgspec.json.encode((*submission.task_ids, task_id)).decode(),
            "now_ms": now_ms,
        },
    )
    if proven.rowcount:
        if not submission.parent_id:
            chains.set_root(connection, submission.chain_id, task_id)
        events.record(
            connection,
            upstream=submission.upstream,
            task_id=task_id,
            submission_id=submission.id,
            source="evidence",
            signal="submission.accepted",
            status="accepted",
            detail=f"task {task_id} carries its mark",
            now_ms=now_ms,
        )


def settle_by_hand(
    connection: Connection, submission: Submission, *, accepted: bool, task_id: str, now_ms: int
) -> bool:
    """A person knows what became of an uncertain submission; tells whether it was uncertain.

    Accepted, its task (where one is named) takes its place in the chain; not accepted, it is sent again.
    """
    settled = move(
        connection,
        submission.id,
        from_states=["uncertain"],
        to="accepted" if accepted else "waiting",
        outcome="accepted" if accepted else "",
        reason="a person says that it was accepted" if accepted else "a person says that it was not accepted",
        run_at_ms=now_ms,
        now_ms=now_ms,
    )
    if settled and accepted and task_id:
        ids = msgspec.json.encode((*submission.task_ids, task_id)).decode()
        connection.execute(update(submissions).where(submissions.c.id == submission.id).values(task_ids=ids))
        found = Settlement(state="accepted", outcome="accepted", reason="by hand", task_ids=(task_id,))
        _tie(connection, submission, task_id, found, now_ms)
        if not submission.parent_id:
            chains.set_root(connection, submission.chain_id, task_id)
    if settled and accepted:
        events.record(
            connection,
            upstream=submission.upstream,
            task_id=task_id or submission.parent_id,
            submission_id=submission.id,
            source="evidence",
            signal="submission.accepted",
            status="accepted",
            detail="settled by hand",
            now_ms=now_ms,
        )
    return settled


_children = (
    select(schema.tasks.c.id)
    .where(schema.tasks.c.submission_id == bindparam("id"))
    .order_by(schema.tasks.c.created_at_ms)
)


def children(connection: Connection, submission_id: str) -> list[str]:
    """Ids of the tasks known to come from a submission."""
    return list(connection.execute(_children, {"id": submission_id}).scalars())


def doubt(connection: Connection, submission_ids: list[str], now_ms: int) -> int:
    """What was being sent, and nobody has in hand, is uncertain now; or accepted where a task with its mark has called.

    How many they were.
    """
    locks.submissions(connection, submission_ids)
    found = [find(connection, submission_id) for submission_id in submission_ids]
    silence = Settlement(
        state="uncertain",
        outcome=INTERRUPTED,
        reason="the process stopped while it was being sent",
        signal="submission.uncertain",
    )
    doubted = 0
    for submission in found:
        if submission is not None and submission.state == "sending":
            settle_attempt(connection, submission, silence, now_ms)
            doubted += 1
    return doubted
