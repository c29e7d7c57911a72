"""Stores with each submission its charges to budgets (`submissions.charges`), and whether they are in effect (`counted`).

A submission is charged while it may have to be paid for, which depends on its state and on how its tasks ended. In whatever order
and however often events arrive, it is charged once and refunded once, in the period in which it was charged.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from storage.budgets import counters, sql
from storage.budgets.billing import Bill, Charge
from storage.records import Staged, beginning
from storage.tasks import chains

_MAY_COST = frozenset({"waiting", "sending", "accepted", "uncertain"})
"""States of a submission that is charged. Opening a modal is free, and its answer is charged separately."""

_charges = msgspec.json.Decoder(tuple[Charge, ...])


def kept(charges: Sequence[Charge]) -> dict[str, object]:
    """The column values of a submission with these charges."""
    return {"charges": msgspec.json.encode(charges).decode() if charges else "", "counted": bool(charges)}


def follow(connection: Connection, submission_id: str) -> None:
    """Charge a submission if it may have to be paid for, otherwise refund it. Locks its row on PostgreSQL."""
    if counters.plan_of(connection) is None:
        return
    row = sql.CHARGED.first(connection, submission_id=submission_id)
    if row is None or not row.charges:
        return
    counts = row.state in _MAY_COST and not row.has_failed
    if counts != row.counted and sql.SWITCH(connection, submission_id=submission_id, counted=counts):
        counters.move(connection, _charges.decode(row.charges), 1 if counts else -1)


class RequestDetails(msgspec.Struct):
    """The parts of a request that identify its chain."""

    prompt: str = ""
    extra: dict[str, object] = {}

    @property
    def state(self) -> str:
        """The `state` that the submitter set."""
        return beginning(str(self.extra.get("state") or ""))


_details = msgspec.json.Decoder(RequestDetails)


def details_of(request: bytes) -> RequestDetails:
    """Decode the details of a stored request."""
    return _details.decode(request)


def bill(connection: Connection, submission: Staged | sql.Billed) -> Bill:
    """The bill of a submission, or of its row. Details that it lacks are taken from the root of its chain."""
    plan = counters.plan_of(connection)
    root = chains.root_of(connection, submission.chain_id) if plan is not None else chains.NOBODY
    needs_state = plan is not None and plan.needs_state
    return Bill(
        upstream=submission.upstream,
        kind=submission.kind,
        request=submission.request,
        asked_by=submission.asked_by,
        chain_id=submission.chain_id,
        client=submission.client or root.client,
        state=(details_of(submission.request).state or chains.state_of(connection, root))
        if needs_state
        else "",
    )


def renew(connection: Connection, submission_id: str, now_ms: int, *, anyway: bool = False) -> str:
    """Charge a requeued submission to the present period, unless it is charged already. Returns why that is refused, or ""."""
    if counters.plan_of(connection) is None:
        return ""
    row = sql.BILLED.one(connection, submission_id=submission_id)
    if row.counted:
        return ""
    taken = counters.take(connection, bill(connection, row), now_ms, anyway=anyway)
    if isinstance(taken, str):
        return taken
    sql.CHARGE(connection, submission_id=submission_id, **kept(taken))
    return ""


def payers(connection: Connection, upstream: str, task_id: str) -> list[str]:
    """The ids of the submissions charged for a task: the one that made it, and, for a modal, the answers to it."""
    if counters.plan_of(connection) is None:
        return []
    return sql.PAYERS.all(connection, upstream=upstream, task_id=task_id)
