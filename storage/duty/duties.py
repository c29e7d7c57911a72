"""Describes the two tables of durable work: the statements of the protocol that they share (storage/duty/protocol.py).

They stay two tables. An intent's key lives for ever, while a delivery is dropped with its event; and only submissions can be
"uncertain": a receiver can run again, but a request that may have been accepted must not be sent again.
"""

from __future__ import annotations

from typing import Any

import msgspec

from storage.driver.statements import Command, Query
from storage.duty import sql
from storage.duty.states import DELIVERY, SUBMISSION, States


class Duty(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One table of durable work.

    Each has the columns id, state, worker, attempts, forgiven, run_at_ms and updated_at_ms. `claim` to `held_by` are its statements
    in storage/duty/sql.py.
    """

    states: States
    table: str
    claim: Command
    finish: Query[Any]
    give_back: Command
    drop: Command
    left: Query[Any]
    held_by: Query[sql.HeldRow]


DELIVERIES = Duty(
    states=DELIVERY,
    table="deliveries",
    claim=sql.CLAIM_DELIVERIES,
    finish=sql.FINISH_DELIVERY,
    give_back=sql.GIVE_BACK_DELIVERY,
    drop=sql.DROP_DELIVERIES,
    left=sql.LEFT_DELIVERIES,
    held_by=sql.DELIVERIES_OF_WORKER,
)

SUBMISSIONS = Duty(
    states=SUBMISSION,
    table="submissions",
    claim=sql.CLAIM_SUBMISSIONS,
    finish=sql.FINISH_SUBMISSION,
    give_back=sql.GIVE_BACK_SUBMISSION,
    drop=sql.DROP_SUBMISSIONS,
    left=sql.LEFT_SUBMISSIONS,
    held_by=sql.SUBMISSIONS_OF_WORKER,
)
