"""Submissions on their way: begin an attempt, settle it. How they get here: storage/staging.py.

The attempt is on disk before its request leaves ("sending"), so a process that dies in between leaves a trace, and
the submission is settled by evidence, never by a second try in the dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, and_, bindparam, exists, insert, or_, select, text, update

from storage import chains, events, schema, tasks
from storage.errors import LeaseLost
from storage.prepared import Prepared
from storage.records import Submission, SubmissionState

submissions, attempts = schema.submissions, schema.attempts

SUBMISSION_COLUMNS = tuple(submissions.c[name] for name in Submission.__struct_fields__)

_by_id = Prepared(select(*SUBMISSION_COLUMNS).where(submissions.c.id == bindparam("id")))


def find(connection: Connection, submission_id: str) -> Submission | None:
    """One submission, or None."""
    row = _by_id(connection, id=submission_id).first()
    return None if row is None else submission_of(row)


LANE_HELD_MS = 60_000
"""How long a submission whose task has not ended keeps the next of its lane waiting: an upscale takes seconds, and
one that was pressed before may never call back. One whose task its upstream does not know keeps nobody waiting."""

_other = submissions.alias("other")
_lane_is_taken = exists().where(
    text("other.lane <> ''"),  # in the words of the index, as a constant: else it is not used
    _other.c.lane == submissions.c.lane,
    _other.c.id != submissions.c.id,
    or_(
        _other.c.state == "sending",
        and_(
            _other.c.state == "waiting",
            _other.c.run_at_ms <= bindparam("now_ms"),
            or_(
                _other.c.queue_at_ms < submissions.c.queue_at_ms,
                and_(
                    _other.c.queue_at_ms == submissions.c.queue_at_ms,
                    _other.c.label < submissions.c.label,
                ),
            ),
        ),
        and_(
            _other.c.updated_at_ms > bindparam("held_since_ms"),
            or_(
                _other.c.state == "uncertain",
                exists().where(
                    schema.tasks.c.submission_id == _other.c.id,
                    schema.tasks.c.finished_at_ms.is_(None),
                    or_(schema.tasks.c.status != "", schema.tasks.c.looked_at_ms.is_(None)),
                ),
            ),
        ),
    ),
)
_due = Prepared(
    select(*SUBMISSION_COLUMNS)
    .where(
        text("submissions.state = 'waiting'"),
        submissions.c.run_at_ms + 0
        <= bindparam("now_ms"),  # not by its index: the queue's gives them in order
        submissions.c.upstream == bindparam("of_upstream"),
        or_(submissions.c.lane == "", ~_lane_is_taken),
    )
    .order_by(submissions.c.queue_at_ms, submissions.c.label)
    .limit(bindparam("most"))
)
_begin = Prepared(
    update(submissions)
    .where(submissions.c.id == bindparam("submission_id"))
    .values(
        state="sending",
        attempts=bindparam("number"),
        started_at_ms=bindparam("now_ms"),
        updated_at_ms=bindparam("now_ms"),
    )
)
_attempt = Prepared(insert(attempts))


def begin_attempts(connection: Connection, upstream: str, most: int, now_ms: int) -> list[Submission]:
    """Take up to `most` submissions that are due at this upstream; each has its attempt on disk after the commit."""
    due = _due(
        connection, of_upstream=upstream, now_ms=now_ms, held_since_ms=now_ms - LANE_HELD_MS, most=most
    )
    begun = [submission_of(row) for row in due]
    if begun:
        numbers = [(submission.id, submission.attempts + 1) for submission in begun]
        _begin.many(
            connection,
            [{"submission_id": id_, "number": number, "now_ms": now_ms} for id_, number in numbers],
        )
        _attempt.many(connection, [_sending(id_, number, now_ms) for id_, number in numbers])
    return [
        msgspec.structs.replace(
            submission,
            state="sending",
            attempts=submission.attempts + 1,
            started_at_ms=now_ms,
            updated_at_ms=now_ms,
        )
        for submission in begun
    ]


def _sending(submission_id: str, number: int, now_ms: int) -> dict[str, object]:
    return {
        "submission_id": submission_id,
        "number": number,
        "started_at_ms": now_ms,
        "finished_at_ms": None,
        "http_status": None,
        "outcome": "sending",
        "reason": "",
        "answer": b"",
    }


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
        submissions.c.state == "sending",
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
        attempts.c.submission_id == bindparam("of_submission"), attempts.c.number == bindparam("of_number")
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

    An attempt without a clear answer is accepted all the same when a task that carries its mark has called already.
    Raises `LeaseLost` when this attempt is no longer the current one.
    """
    if settlement.state == "uncertain" and (known := children(connection, submission.id)):
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
    _finish_attempt(
        connection,
        of_submission=submission.id,
        of_number=submission.attempts,
        now_ms=now_ms,
        new_http_status=settlement.http_status,
        new_outcome=settlement.outcome,
        new_reason=settlement.reason,
        new_answer=settlement.answer,
    )


def _tie(
    connection: Connection, submission: Submission, task_id: str, settlement: Settlement, now_ms: int
) -> None:
    """Give a task that this submission made, or found, its place in the chain; its callback may have come before."""
    row = tasks.find(connection, submission.upstream, task_id) or tasks.blank(
        submission.upstream, task_id, now_ms
    )
    if row.chain_id is None:
        row = msgspec.structs.replace(
            row,
            chain_id=submission.chain_id,
            submission_id=submission.id,
            parent_id=submission.parent_id,
            depth=submission.depth,
        )
    tasks.put(
        connection,
        msgspec.structs.replace(
            row,
            status=row.status or settlement.child_status,
            action=row.action or settlement.child_action,
            updated_at_ms=now_ms,
        ),
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


_set_state = (
    update(submissions)
    .where(
        submissions.c.id == bindparam("submission_id"),
        submissions.c.state.in_(bindparam("from_states", expanding=True)),
    )
    .values(
        state=bindparam("new_state"),
        outcome=bindparam("new_outcome"),
        reason=bindparam("new_reason"),
        run_at_ms=bindparam("new_run_at_ms"),
        updated_at_ms=bindparam("now_ms"),
    )
)


def move(
    connection: Connection,
    submission_id: str,
    *,
    from_states: Iterable[SubmissionState],
    to: SubmissionState,
    outcome: str = "",
    reason: str,
    run_at_ms: int,
    now_ms: int,
) -> bool:
    """Put a submission into another state, if it is in one of `from_states`; tells whether it was."""
    moved = connection.execute(
        _set_state,
        {
            "submission_id": submission_id,
            "from_states": list(from_states),
            "new_state": to,
            "new_outcome": outcome,
            "new_reason": reason,
            "new_run_at_ms": run_at_ms,
            "now_ms": now_ms,
        },
    )
    return moved.rowcount == 1


_forgive = (
    update(submissions)
    .where(submissions.c.id == bindparam("submission_id"))
    .values(forgiven=submissions.c.attempts)
)


def forgive(connection: Connection, submission_id: str) -> None:
    """Count its attempts from here."""
    connection.execute(_forgive, {"submission_id": submission_id})


INTERRUPTED = "interrupted"
"""Outcome of an attempt in which our own process stopped."""


def doubt_all(connection: Connection, now_ms: int) -> int:
    """What a process that is gone was sending is uncertain now, or accepted where a task with its mark has called.

    Only right where there is one worker. How many they were.
    """
    found = in_state(connection, "sending", most=1_000_000)
    for submission in found:
        silence = Settlement(
            state="uncertain",
            outcome=INTERRUPTED,
            reason="the process stopped while it was being sent",
            signal="submission.uncertain",
        )
        settle_attempt(connection, submission, silence, now_ms)
    return len(found)


_in_state = (
    select(*SUBMISSION_COLUMNS)
    .where(submissions.c.state == bindparam("wanted"))
    .order_by(submissions.c.updated_at_ms)
    .limit(bindparam("most"))
)


def in_state(connection: Connection, state: SubmissionState, most: int = 100) -> list[Submission]:
    """Submissions in a state, those unchanged for longest first."""
    return [submission_of(row) for row in connection.execute(_in_state, {"wanted": state, "most": most})]


def submission_of(row: Row[tuple[object, ...]]) -> Submission:
    """A row of SUBMISSION_COLUMNS as a record."""
    return record_of(row._mapping)


def record_of(values: Mapping[Any, Any]) -> Submission:
    """Column values as a record."""
    return Submission(**{**values, "task_ids": msgspec.json.decode(values["task_ids"], type=tuple[str, ...])})
