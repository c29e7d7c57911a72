"""Submissions on their way: find them, begin an attempt, move them.

How they get here: storage/staging.py. How their attempts end: storage/settlements.py. The attempt is on disk before its
request leaves ("sending"), so a process that dies in between leaves a trace, and the submission is settled by evidence,
never by a second try in the dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Row,
    and_,
    bindparam,
    exists,
    insert,
    or_,
    select,
    text,
    update,
)

from storage import schema
from storage.prepared import Prepared
from storage.records import Submission, SubmissionState

submissions, attempts = schema.submissions, schema.attempts

SUBMISSION_COLUMNS = tuple(submissions.c[name] for name in Submission.__struct_fields__)

_by_id = Prepared(select(*SUBMISSION_COLUMNS).where(submissions.c.id == bindparam("id")))


def find(connection: Connection, submission_id: str) -> Submission | None:
    """One submission, or None."""
    row = _by_id(connection, id=submission_id).first()
    return None if row is None else submission_of(row)


def of_parent(upstream: str, parent_id: str) -> ColumnElement[bool]:
    """What was asked for because of a task. Not by the index of its upstream, which SQLite would take."""
    return and_(submissions.c.parent_id == parent_id, submissions.c.upstream + "" == upstream)


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
DUE = Prepared(
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
    .with_for_update(of=submissions, skip_locked=True)
)
_any_due = Prepared(
    select(submissions.c.id)
    .where(text("submissions.state = 'waiting'"), submissions.c.run_at_ms + 0 <= bindparam("now_ms"))
    .limit(1)
)
_begin = Prepared(
    update(submissions)
    .where(submissions.c.id == bindparam("submission_id"))
    .values(
        state="sending",
        worker=bindparam("by"),
        attempts=bindparam("number"),
        started_at_ms=bindparam("now_ms"),
        updated_at_ms=bindparam("now_ms"),
    )
)
_attempt = Prepared(insert(attempts))


def is_any_due(connection: Connection, now_ms: int) -> bool:
    """Whether anything waits to be sent by now, at whatever upstream."""
    return _any_due(connection, now_ms=now_ms).first() is not None


def begin_attempts(
    connection: Connection, upstream: str, most: int, now_ms: int, *, worker: str = ""
) -> list[Submission]:
    """For a worker, take up to `most` submissions that are due at this upstream; each has its attempt on disk after the commit."""
    due = DUE(connection, of_upstream=upstream, now_ms=now_ms, held_since_ms=now_ms - LANE_HELD_MS, most=most)
    begun = [submission_of(row) for row in due]
    if begun:
        numbers = [(submission.id, submission.attempts + 1) for submission in begun]
        _begin.many(
            connection,
            [
                {"submission_id": id_, "number": number, "by": worker, "now_ms": now_ms}
                for id_, number in numbers
            ],
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


_set_state = (
    update(submissions)
    .where(
        submissions.c.id == bindparam("submission_id"),
        submissions.c.state.in_(bindparam("from_states", expanding=True)),
        or_(
            bindparam("of_attempts", type_=Integer).is_(None),
            submissions.c.attempts == bindparam("of_attempts"),
        ),
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
    attempts: int | None = None,
) -> bool:
    """Put a submission into another state, if it is in one of `from_states`; tells whether it was.

    With `attempts`, only if it has had no more: evidence about one attempt says nothing about the next.
    """
    moved = connection.execute(
        _set_state,
        {
            "submission_id": submission_id,
            "from_states": list(from_states),
            "of_attempts": attempts,
            "new_state": to,
            "new_outcome": outcome,
            "new_reason": reason,
            "new_run_at_ms": run_at_ms,
            "now_ms": now_ms,
        },
    )
    return moved.rowcount == 1


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
