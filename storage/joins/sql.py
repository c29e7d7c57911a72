"""The statements about joins: the marks, and what a chain consists of at one moment."""

from __future__ import annotations

from typing import NamedTuple

from storage.driver.statements import Command, Query
from storage.records import JOINS

_NAMES = ", ".join(f"'{name}'" for name in sorted(JOINS))


class Moved(NamedTuple):
    """A submission that an event is about, as far as it matters to joins. `parent_id`: what it was pressed on; for the answer to a
    modal, what the modal was opened on."""

    chain_id: str
    follows: str
    parent_id: str


# As for receivers, the hook on which a callback arrived proves nothing. A replay is no news, and a cancellation makes nothing.
MOVED = Query(
    f"""
    SELECT DISTINCT submissions.chain_id, submissions.follows,
      CASE WHEN submissions.kind = 'modal' THEN coalesce(windows.parent_id, '') ELSE submissions.parent_id END
    FROM events
    LEFT JOIN tasks ON tasks.upstream = events.upstream AND tasks.id = events.task_id
    JOIN submissions ON submissions.id = CASE
        WHEN events.source = 'callback' THEN tasks.submission_id
        ELSE coalesce(nullif(events.submission_id, ''), tasks.submission_id)
      END
    LEFT JOIN tasks AS windows ON submissions.kind = 'modal'
      AND windows.upstream = submissions.upstream AND windows.id = submissions.parent_id
    WHERE events.id IN (:ids) AND events.source <> 'replay' AND events.signal NOT IN ({_NAMES})
      AND submissions.kind <> 'cancel'
    """,
    Moved,
)
MARK = Command(
    """
    INSERT INTO joins (chain_id, task_id, look_at_ms, looks, given, shown)
    VALUES (:chain_id, :task_id, :now_ms, 0, 0, '')
    ON CONFLICT (chain_id, task_id) DO UPDATE SET look_at_ms = excluded.look_at_ms, looks = 0
    """
)


class Mark(NamedTuple):
    """A chain ("" for `task_id`), or a task in it with children, that may have come to rest."""

    chain_id: str
    task_id: str
    looks: int
    given: int
    shown: str


# A look is never put off for longer than `:latest_ms`: a later time was written before the clock was set back.
DUE = Query(
    """
    SELECT chain_id, task_id, looks, given, shown FROM joins
    WHERE look_at_ms IS NOT NULL
      AND (look_at_ms <= :now_ms OR look_at_ms > :latest_ms OR chain_id IN (:chain_ids))
      AND (CASE WHEN task_id = '' THEN 'chain.rested' ELSE 'children.done' END) IN (:wanted)
    ORDER BY look_at_ms, chain_id, task_id
    LIMIT :most
    """,
    Mark,
)
_OF_MARK = "chain_id = :chain_id AND task_id = :task_id AND given = :given"
GIVE = Command(
    f"UPDATE joins SET given = given + 1, shown = :shown, look_at_ms = NULL, looks = 0 WHERE {_OF_MARK}"
)
"""Changes a row for one caller only, however many look at it at the same time."""
CLEAR = Command(f"UPDATE joins SET look_at_ms = NULL, looks = 0 WHERE {_OF_MARK}")
PUT_OFF = Command(f"UPDATE joins SET look_at_ms = :look_at_ms, looks = looks + 1 WHERE {_OF_MARK}")

# What a chain consists of.

BUSY = Query(
    """
    SELECT id FROM submissions WHERE chain_id = :chain_id AND state IN ('waiting', 'sending', 'uncertain')
    UNION ALL
    SELECT id FROM tasks WHERE chain_id = :chain_id AND finished_at_ms IS NULL AND status <> 'MODAL'
    LIMIT 1
    """,
    str,
)
"""A quick look: something of the chain runs or waits."""


class Part(NamedTuple):
    """One part of a chain. `what` is "task", "submission" or "work".

    A task: `name` is its action, `state` its status; `is_over` if it has ended, by the upstream's own word. A submission: `name` is its
    kind, `more` its tasks as JSON, and `attempts` their number. Work is an event (`name` "") that is not fanned out yet, or a delivery to
    the receiver `name` that is to run; `id` is the event's task, and `state` its signal.
    """

    what: str
    id: str
    upstream: str
    name: str
    state: str
    parent_id: str
    submission_id: str
    follows: str
    more: str
    attempts: int
    is_over: bool


# `+` keeps SQLite from starting with everything that is open in any chain.
_WORK = """
    SELECT 'work', events.task_id, events.upstream, coalesce(deliveries.receiver, ''), events.signal, '',
      events.submission_id, '', '', 0, FALSE
"""
_OPEN = """
    LEFT JOIN deliveries ON deliveries.event_id = events.id
      AND /*sqlite + */deliveries.state IN ('waiting', 'running')
"""
_IS_OPEN = "(/*sqlite + */events.pending OR deliveries.id IS NOT NULL)"

PARTS = Query(
    f"""
    SELECT 'task', id, upstream, action, status, parent_id, coalesce(submission_id, ''), '', '', 0,
      finished_at_ms IS NOT NULL AND (confirmed OR status IN ('LOST', 'REFUTED'))
    FROM tasks WHERE chain_id = :chain_id
    UNION ALL
    SELECT 'submission', id, upstream, kind, state, parent_id, id, follows, task_ids, attempts, FALSE
    FROM submissions WHERE chain_id = :chain_id
    UNION ALL
    {_WORK}
    FROM tasks
    JOIN events ON events.upstream = tasks.upstream AND events.task_id = tasks.id
    {_OPEN}
    WHERE tasks.chain_id = :chain_id AND {_IS_OPEN}
    UNION ALL
    {_WORK}
    FROM submissions
    JOIN events ON events.submission_id <> '' AND events.submission_id = submissions.id
    {_OPEN}
    WHERE submissions.chain_id = :chain_id AND {_IS_OPEN}
    """,
    Part,
)
"""All in one statement, which sees one moment: what ends a delivery and stages what it requested is committed together, so that at every
moment there is either the delivery or the submission."""
