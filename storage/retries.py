"""Dead deliveries and submissions that a person has tried again, as they were or mended, or gives up for good.

A submission goes back to waiting only while nothing shows that its upstream has it. "Dead" and "rejected" are how its
last attempt ended: a callback may have come by its own path before that answer did, and an attempt before the last may
have ended in silence. So what speaks against it is looked at in the statement that changes it, with its row locked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, exists, or_, select, update

from midjourney.types import Status
from storage import locks, schema
from storage.looks import LOST
from storage.settlements import INTERRUPTED
from storage.windows import WINDOW_LOST

submissions, deliveries = schema.submissions, schema.deliveries

_retry_deliveries = (
    update(deliveries)
    .where(deliveries.c.id.in_(bindparam("ids", expanding=True)), deliveries.c.state == "dead")
    .values(
        state="waiting",
        attempts=0,
        excused=0,
        run_at_ms=bindparam("now_ms"),
        updated_at_ms=bindparam("now_ms"),
    )
)
_drop_deliveries = (
    update(deliveries)
    .where(deliveries.c.id.in_(bindparam("ids", expanding=True)), deliveries.c.state == "dead")
    .values(
        state="done", decision="dropped by hand: " + deliveries.c.decision, updated_at_ms=bindparam("now_ms")
    )
)


def retry_deliveries(connection: Connection, ids: Sequence[int], now_ms: int) -> int:
    """Run those that are dead again, with all their attempts; how many they were."""
    return _changed(connection, _retry_deliveries, ids, now_ms)


def drop_deliveries(connection: Connection, ids: Sequence[int], now_ms: int) -> int:
    """Run those that are dead no more; how many they were."""
    return _changed(connection, _drop_deliveries, ids, now_ms)


_child, _window = schema.tasks.alias("child"), schema.tasks.alias("its_window")
_UNANSWERED = ("", Status.NOT_START, Status.MODAL, LOST)
_has_child = exists().where(_child.c.submission_id == submissions.c.id)
_was_answered = and_(  # the answer to a window runs under the window's own id
    submissions.c.kind == "modal",
    exists().where(
        _window.c.upstream == submissions.c.upstream,
        _window.c.id == submissions.c.parent_id,
        _window.c.status.not_in(_UNANSWERED),
    ),
)
# A press whose window was lost is repeated: a window that nobody answered is free, and so is what is not there any more.
TAKEN = or_(_has_child.where(_child.c.status.not_in((Status.MODAL, LOST))), _was_answered)
"""Whether a submission has made a task, whatever its answer said."""

_left_open = exists().where(
    schema.attempts.c.submission_id == submissions.c.id,
    schema.attempts.c.outcome.in_(("sending", "uncertain", INTERRUPTED)),
)
_waiting_again = {
    "state": "waiting",
    "outcome": "",
    "forgiven": submissions.c.attempts,
    "run_at_ms": bindparam("now_ms"),
    "updated_at_ms": bindparam("now_ms"),
}
_retry_submissions = (
    update(submissions)
    .where(
        submissions.c.id.in_(bindparam("ids", expanding=True)),
        submissions.c.state.in_(("dead", "rejected")),
        ~TAKEN,
    )
    .values(reason="retried by hand", **_waiting_again)
)
_drop_submissions = (
    update(submissions)
    .where(submissions.c.id.in_(bindparam("ids", expanding=True)), submissions.c.state == "dead")
    .values(
        state="rejected",
        outcome="dropped",
        reason="dropped by hand: " + submissions.c.reason,
        run_at_ms=bindparam("now_ms"),
        updated_at_ms=bindparam("now_ms"),
    )
)
_mend = (
    update(submissions)
    .where(
        submissions.c.id == bindparam("submission_id"),
        submissions.c.state.in_(("dead", "rejected")),
        submissions.c.outcome != WINDOW_LOST,
        ~_has_child,
        ~_was_answered,
        ~_left_open,
    )
    .values(request=bindparam("new_request"), reason="edited and retried by hand", **_waiting_again)
)


def retry_submissions(connection: Connection, ids: Sequence[str], now_ms: int) -> int:
    """Send again, with all their attempts, those that are dead or rejected and that no upstream is known to have; how
    many they were."""
    locks.submissions(connection, list(ids))
    return _changed(connection, _retry_submissions, ids, now_ms)


def drop_submissions(connection: Connection, ids: Sequence[str], now_ms: int) -> int:
    """Give those that are dead up for good; how many they were."""
    return _changed(connection, _drop_submissions, ids, now_ms)


def mend(connection: Connection, submission_id: str, request: bytes, now_ms: int) -> bool:
    """Send a dead or rejected submission again with another request; tells whether that was safe.

    It is when every attempt of it has an end, and none of them shows that the upstream has it: a task that the first
    request made would count as the second one's.
    """
    locks.submissions(connection, [submission_id])
    mended = connection.execute(
        _mend, {"submission_id": submission_id, "new_request": request, "now_ms": now_ms}
    )
    return mended.rowcount == 1


_answered = select(submissions.c.id).where(submissions.c.id == bindparam("submission_id"), _was_answered)


def was_answered(connection: Connection, submission_id: str) -> bool:
    """Whether a submission is the answer to a window that waits for none any more."""
    return connection.execute(_answered, {"submission_id": submission_id}).first() is not None


def _changed(connection: Connection, statement: Any, ids: Sequence[object], now_ms: int) -> int:
    if not ids:
        return 0
    return connection.execute(statement, {"ids": list(ids), "now_ms": now_ms}).rowcount
