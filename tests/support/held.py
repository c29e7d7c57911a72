"""Firings whose submissions are held for an approval, made by the real operations of storage."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, select

from storage import schema
from storage.deliveries import delivery_queue, endings
from storage.deliveries.endings import Ended
from storage.events import event_log
from storage.records import Approval, ApprovalTerms, Staged, Submission
from storage.submissions import approvals
from storage.tasks import rows as tasks
from tests.support.staged import wanted

RULE = "rule:upscale"
HOUR_MS = 3_600_000


def press(number: int, **fields: object) -> Staged:
    """A press of the grid's button by the rule."""
    staged = wanted(f"main|press|grid|U{number}|0", kind="action", label=f"U{number}", parent_id="grid")
    return msgspec.structs.replace(staged, asked_by=RULE, **fields)


def fire(
    connection: Connection,
    *staged: Staged,
    terms: ApprovalTerms | None = None,
    now_ms: int = 1000,
    refuse: str = "",
) -> Approval | None:
    """The rule fires for one more event of the grid; returns its approval, if it has one."""
    if tasks.find(connection, "main", "grid") is None:
        tasks.put(connection, tasks.blank("main", "grid", now_ms))
    event_log.append(
        connection,
        event_log.fact(
            upstream="main", signal="task.succeeded", source="internal", task_id="grid", now_ms=now_ms
        ),
    )
    delivery_queue.fan_out(connection, lambda _event: [RULE], 100, now_ms)
    (claimed,) = delivery_queue.claim(
        connection, 1, now_ms, room=lambda name: 9 if name == RULE else 0, worker="w"
    )
    chain_id = claimed.chain.id if claimed.chain is not None else ""
    ending = Ended(
        state="done",
        staged=tuple(msgspec.structs.replace(one, chain_id=chain_id) for one in staged),
        fired=True,
        terms=terms or ApprovalTerms(for_ms=HOUR_MS),
    )
    endings.end(connection, claimed, ending, refuse=lambda *_: refuse, now_ms=now_ms)
    return approvals.of_firing(connection, claimed.event.id, RULE)


def held(
    connection: Connection, *staged: Staged, terms: ApprovalTerms | None = None, now_ms: int = 1000
) -> Approval:
    """The approval of a firing of the rule, which presses U1 unless it requests something else."""
    opened = fire(connection, *(staged or [press(1)]), terms=terms, now_ms=now_ms)
    assert opened is not None
    return opened


def by_label(connection: Connection, approval_id: str) -> dict[str, Submission]:
    """The submissions of an approval, by their labels."""
    return {one.label: one for one in approvals.submissions_of(connection, approval_id)}


def states(connection: Connection) -> dict[str, str]:
    """The state of each submission by its label."""
    found = connection.execute(select(schema.submissions.c.label, schema.submissions.c.state)).all()
    return {row.label: row.state for row in found}
