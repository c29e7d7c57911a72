"""Scheduled submissions with terms: whoever scheduled one is asked again when it is due, before each of its attempts.

Until then no worker claims it. An attempt that left nothing is no promise: until the next one, the rule may be deleted, or a person may
have pressed. Who was asked may agree, which holds for a while: if the submission still waits after that, because its
upstream is paused, it is asked about again. Each statement names the terms that were asked about, so that an answer about a
submission that a person has hurried in the meantime changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection

from storage.driver.decoder import columns_of
from storage.driver.statements import Command, Query
from storage.records import BY_HAND, Submission

CLEARED_MS = 15_000
"""How long an agreement holds, for one attempt."""

_PRESSES = "('action', 'change', 'simple_change', 'modal')"


class Scheduled(NamedTuple):
    """A submission that is due, and its terms. `approved_at_ms`: when it was approved, None if nobody had to."""

    submission: Submission
    terms: str
    approved_at_ms: int | None


DUE = Query(
    f"""
    SELECT {columns_of(Submission, "submissions")}, submissions.terms, approvals.decided_at_ms AS approved_at_ms
    FROM submissions
    LEFT JOIN upstreams ON upstreams.name = submissions.upstream
    LEFT JOIN approvals ON approvals.id = submissions.approval_id AND submissions.approval_id <> ''
    WHERE submissions.state = 'waiting' AND submissions.terms IS NOT NULL
      AND submissions.run_at_ms <= :now_ms AND upstreams.paused IS NOT TRUE
      AND (submissions.cleared_at_ms IS NULL OR submissions.cleared_at_ms NOT BETWEEN :cleared_since_ms AND :now_ms
        OR submissions.cleared_at_ms <= coalesce(submissions.started_at_ms, 0))
      AND submissions.id NOT IN (:but)
    ORDER BY submissions.run_at_ms, submissions.id
    LIMIT :most
    """,
    Scheduled,
)
"""In the words of the index `submissions_scheduled`."""

CLEAR = Command(
    "UPDATE submissions SET cleared_at_ms = :now_ms WHERE id = :id AND state = 'waiting' AND terms = :terms"
)
HAS_TERMS = Query("SELECT id FROM submissions WHERE id = :id AND state = 'waiting' AND terms = :terms", str)


class Press(NamedTuple):
    """A button that somebody asked for on a task, and how far that came."""

    label: str
    asked_by: str
    state: str


PRESSES_ON = Query(
    f"""
    SELECT label, asked_by, state FROM submissions
    WHERE parent_id = :task_id AND upstream = :upstream AND id <> :but AND kind IN {_PRESSES}
    ORDER BY created_at_ms, id
    """,
    Press,
)
MADE_ON = Query(
    """
    SELECT made_by FROM tasks
    WHERE upstream = :upstream AND parent_id = :task_id AND made_by <> '' AND submission_id IS NULL
    ORDER BY created_at_ms, id
    """,
    str,
)
"""The buttons that other clients of the upstream pressed on a task."""
UNNAMED_ON = Query(
    """
    SELECT made.action FROM tasks
    JOIN tasks AS made ON made.chain_id = tasks.chain_id
    WHERE tasks.upstream = :upstream AND tasks.id = :task_id AND made.upstream = :upstream
      AND made.parent_id = :task_id AND made.made_by = '' AND made.submission_id IS NULL
    ORDER BY made.created_at_ms, made.id
    """,
    str,
)
"""What other clients made of a task by a button that no payload names: some relays send only the parent's id. A task of our own has no
chain until its submission is known."""


def due(connection: Connection, now_ms: int, most: int, *, but: Collection[str] = ()) -> list[Scheduled]:
    """Up to `most` submissions about which somebody must be asked now, the longest due first; without those in `but`."""
    return DUE.all(connection, now_ms=now_ms, cleared_since_ms=now_ms - CLEARED_MS, most=most, but=list(but))


def clear(connection: Connection, scheduled: Scheduled, now_ms: int) -> bool:
    """Let a worker claim a submission: whoever scheduled it still wants it. False if that is out of date."""
    return CLEAR(connection, id=scheduled.submission.id, terms=scheduled.terms, now_ms=now_ms) == 1


def has_terms(connection: Connection, submission_id: str, terms: str) -> bool:
    """True if a submission still waits on these terms."""
    return HAS_TERMS.first(connection, id=submission_id, terms=terms) is not None


def presses_on(connection: Connection, upstream: str, task_id: str, *, but: str) -> list[Press]:
    """What was pressed on a task, in order, apart from the submission `but`; other clients of the upstream count as people."""
    ours = PRESSES_ON.all(connection, upstream=upstream, task_id=task_id, but=but)
    elsewhere = MADE_ON.all(connection, upstream=upstream, task_id=task_id)
    unnamed = UNNAMED_ON.all(connection, upstream=upstream, task_id=task_id)
    elsewhere += [action.lower() for action in unnamed]
    return [*ours, *(Press(label, f"{BY_HAND}elsewhere", "accepted") for label in elsewhere)]
