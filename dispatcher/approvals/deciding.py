"""Decides approvals for people and for the end of their time: one transaction, a line in the log, and the loops are woken."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from storage import clock
from storage.engine import Connection, Database
from storage.records import DecidedFrom
from storage.submissions import decisions
from storage.submissions.decisions import Decided, Verdict

log = structlog.get_logger("hookchain")

LONGEST_NAME = 80
"""Characters of the name of whoever decides."""


async def decide(
    database: Database, approval_id: str, verdict: Verdict, *, by: str, source: DecidedFrom
) -> Decided | None:
    """Release or drop what an approval holds; None if there is no such approval. `by` is a name as somebody wrote it."""
    name = "".join(character if character.isprintable() else " " for character in by).strip()[:LONGEST_NAME]
    return await _written(
        database,
        lambda connection: decisions.decide(
            connection, approval_id, verdict, by=name, source=source, now_ms=clock.now_ms()
        ),
    )


async def expire(database: Database, approval_id: str) -> Decided | None:
    """End the time of an approval."""
    return await _written(
        database, lambda connection: decisions.expire(connection, approval_id, clock.now_ms())
    )


async def _written(database: Database, work: Callable[[Connection], Decided | None]) -> Decided | None:
    decided = await database.write("approval", work)
    if decided is not None and decided.counts:
        database.wakeups.wake("events", "submissions")
        approval = decided.approval
        log.info(
            "approval decided",
            approval=approval.id,
            receiver=approval.asked_by,
            task=approval.task_id,
            state=approval.state,
            by=approval.decided_by,
            source=approval.decided_from,
            submissions=decided.moved,
            over_budget=len(decided.over_budget),
        )
    return decided
