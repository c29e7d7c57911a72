"""Counts budgets by hour, day and month: one row for each budget, scope and period, updated in the transaction that stages.

`dispatcher/policy/period_budgets.py` defines the budgets. The connection carries its plan (`Database.charge_by`), so that code which
stages cannot forget it. storage/budgets/charges.py decides what a submission is charged to, and for how long.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection

from storage.budgets import sql
from storage.budgets.billing import NO_LIMIT, PLAN, Bill, Charge, Claim, Plan
from storage.records import Used


def plan_of(connection: Connection) -> Plan | None:
    """The plan that the connection carries; None if there are no budgets."""
    plan: Plan | None = connection.info.get(PLAN)
    return plan


def take(
    connection: Connection, bill: Bill, now_ms: int, *, anyway: bool = False
) -> tuple[Charge, ...] | str:
    """Charge a submission to all its budgets; returns the charges. If one refuses, charge none; returns the reason. `anyway`
    ignores the limits."""
    plan = plan_of(connection)
    if plan is None:
        return ()
    taken: list[Charge] = []
    for claim in sorted(plan.claims(bill, now_ms), key=_key):
        if anyway:
            claim = msgspec.structs.replace(
                claim, most_submissions=NO_LIMIT, most_micros=NO_LIMIT, impossible=""
            )
        if why := _refusal(connection, plan, claim):
            move(connection, taken, -1)
            return why
        taken.append(claim.charge)
    return tuple(taken)


def _key(claim: Claim) -> tuple[str, str, str]:
    """The same order in all transactions, to avoid deadlocks."""
    return claim.charge.budget, claim.charge.scope, claim.charge.period


def _refusal(connection: Connection, plan: Plan, claim: Claim) -> str:
    """Make one charge; returns "", or why it is refused."""
    if claim.impossible:
        return claim.impossible
    # The first charge of a period inserts the row, where the statement checks no limit.
    fits = claim.most_submissions >= 1 and claim.charge.micros <= claim.most_micros
    if fits and _count(connection, claim):
        return ""
    used = sql.COUNTED.first(connection, **msgspec.structs.asdict(claim.charge))
    return plan.refusal(claim, used.submissions if used else 0, used.spent_micros if used else 0)


def _count(connection: Connection, claim: Claim) -> bool:
    taken = sql.TAKE(
        connection,
        **msgspec.structs.asdict(claim.charge),
        ends_at_ms=claim.ends_at_ms,
        most_submissions=claim.most_submissions,
        most_micros=claim.most_micros,
    )
    return taken > 0


def move(connection: Connection, charges: Iterable[Charge], sign: int) -> None:
    """Add existing charges again (sign 1), or refund them (sign -1), without checking limits."""
    for charge in charges:
        signed = msgspec.structs.replace(charge, micros=sign * charge.micros)
        sql.MOVE(connection, **msgspec.structs.asdict(signed), submissions=sign)


def used(connection: Connection, now_ms: int) -> list[Used]:
    """How much is used up in all periods that have not ended."""
    return sql.USED.all(connection, now_ms=now_ms)


def drop_old(connection: Connection, before_ms: int) -> int:
    """Delete periods that ended before `before_ms`; returns the number of rows."""
    return sql.DROP_ENDED(connection, before_ms=before_ms)
