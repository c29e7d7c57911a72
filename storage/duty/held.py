"""Finds the attempts that a worker holds, or left behind when it died."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection

from storage.duty.duties import Duty
from storage.duty.sql import HeldDelivery, HeldRow, HeldSubmission
from storage.workers import leases


class Held(msgspec.Struct, frozen=True):
    """One attempt at one row: the worker that began it holds it until it ends or is given back."""

    id: int | str
    attempt: int


def left(connection: Connection, duty: Duty) -> Sequence[Any]:
    """The rows that workers without a lease still hold, locked for this transaction: `HeldDelivery` or `HeldSubmission`."""
    now_ms = leases.server_ms(connection)
    return duty.left.all(
        connection,
        running=duty.states.running,
        now_ms=now_ms,
        latest_ms=now_ms + leases.LONGEST_MS,
        for_ever_ms=leases.FOR_EVER_MS,
    )


def attempt_of(row: HeldDelivery | HeldSubmission | HeldRow) -> Held:
    """The attempt of a row that is or was held."""
    return Held(row.id, row.attempts)


def by(connection: Connection, duty: Duty, worker: str, before_ms: int) -> list[Held]:
    """The attempts that a worker holds, and whose rows have not changed since `before_ms`."""
    rows = duty.held_by.all(connection, running=duty.states.running, worker=worker, before_ms=before_ms)
    return [attempt_of(row) for row in rows]
