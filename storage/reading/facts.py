"""What happened since a time, from which rules are tried: events, what others requested, and what people decided.

Others are people, clients and plugins. What rules requested is told too, so that its ids and answers can be recognised.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from sqlalchemy import Connection

from storage.driver.decoder import columns_of
from storage.driver.statements import Query
from storage.records import Approval, ChainRow, Submission

MONTH_MS = 31 * 24 * 3_600_000
"""How far back what others requested is read: a budget may be of the month."""


class Requested(msgspec.Struct, frozen=True, kw_only=True):
    """A submission as it is now, with what else its request said, and its chain. `approval_id`: the approval that held it, or "". `counted`:
    it is charged to the budgets. The request of a rule's is left out, because rules that are tried make their own."""

    submission: Submission
    thing: str
    client: str
    user: str
    follows: str
    approval_id: str
    counted: bool
    chain: ChainRow | None


_SUBMISSION = columns_of(Submission, "submissions").replace(
    "submissions.request",
    "CASE WHEN substr(submissions.asked_by, 1, 5) = 'rule:' THEN substr(submissions.request, 1, 0) ELSE submissions.request END",
)
_REQUESTED = Query(
    f"""
    SELECT {_SUBMISSION}, submissions.thing, submissions.client, submissions."user", submissions.follows,
      submissions.approval_id, submissions.counted, {columns_of(ChainRow, "chains")}
    FROM submissions
    LEFT JOIN chains ON chains.id = submissions.chain_id
    WHERE submissions.created_at_ms >= :since_ms
      AND (submissions.created_at_ms >= :rules_since_ms OR substr(submissions.asked_by, 1, 5) <> 'rule:')
    ORDER BY submissions.created_at_ms, submissions.id
    """,
    Requested,
)
_DECIDED = Query(
    f"""
    SELECT {columns_of(Approval)} FROM approvals
    WHERE asked_at_ms >= :since_ms AND decided_at_ms IS NOT NULL AND decided_from <> 'expiry'
    ORDER BY decided_at_ms, id
    """,
    Approval,
)


def requested(connection: Connection, since_ms: int) -> Iterator[Requested]:
    """What others requested since a month before this time, and rules since this time, oldest first."""
    return _REQUESTED.each(connection, since_ms=since_ms - MONTH_MS, rules_since_ms=since_ms)


def decided(connection: Connection, since_ms: int) -> Iterator[Approval]:
    """The approvals asked for since this time that people have decided, in the order of their decisions."""
    return _DECIDED.each(connection, since_ms=since_ms)
