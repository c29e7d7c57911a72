"""Gives back submissions whose worker is gone: they become uncertain, unless it is known that the request never left."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from storage.driver import locks
from storage.duty.held import Held
from storage.records import INTERRUPTED, Submission
from storage.submissions.settlements import Settlement, settle_attempt
from storage.submissions.submission_queue import find

MayHaveLeft = Callable[[Submission], bool]
"""True if the request of a submission's current attempt may have left the process that was sending it."""

_MAY_HAVE_LEFT = Settlement(
    state="uncertain",
    outcome=INTERRUPTED,
    reason="the process stopped while it was being sent",
    signal="submission.uncertain",
)


def give_back(
    connection: Connection,
    held: Sequence[Held],
    now_ms: int,
    may_have_left: MayHaveLeft = lambda _submission: True,
) -> int:
    """Settle attempts that no worker holds any more; returns the number of submissions that are uncertain now.

    A submission whose task has called back already is accepted. One whose request certainly never left waits to be sent, and
    the attempt does not count as a try. Attempts that are no longer current are left alone.
    """
    locks.submissions(connection, [str(attempt.id) for attempt in held])
    unsent = Settlement(
        state="waiting",
        outcome="not_sent",
        reason="the process stopped before it was sent",
        run_at_ms=now_ms,
        excused=True,
    )
    uncertain = 0
    for attempt in held:
        submission = find(connection, str(attempt.id))
        if submission is None or submission.state != "sending" or submission.attempts != attempt.attempt:
            continue
        left = may_have_left(submission)
        settle_attempt(connection, submission, _MAY_HAVE_LEFT if left else unsent, now_ms, by="give_back")
        uncertain += left
    return uncertain
