"""Finds the receiver that ended a process: the receivers that were running in it are suspects until they have run alone.

A process that dies ends all runs in it. It is unknown which of those receivers called `os._exit`, crashed the interpreter or used
up the memory, or whether any of them did: platforms kill processes too. So

- if several ran when a process died, none is charged: each of them is a suspect;
- a suspect, and any other delivery to its receiver, runs alone: beside it run only receivers that cannot end a process;
- a suspect that ran alone when its process died is charged, and then waits at least twice as long as the process had lived. If
  processes die anyway, one dies during that wait, and the charges are dropped;
- a suspect whose run ends in any way is no longer a suspect (storage/deliveries/endings.py).

A delivery with `MOST_DEATHS` charges becomes a dead letter. The death of a process never counts as a failed attempt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import Connection

from storage.deliveries import sql
from storage.duty import held, protocol
from storage.duty.duties import DELIVERIES
from storage.duty.sql import HeldDelivery

MOST_DEATHS = 5
"""With this many charges a delivery becomes a dead letter."""

FIRST_PAUSE_MS = 1_000
"""The pause before a suspect runs alone."""

LONGEST_PAUSE_MS = 3_600_000
"""The longest pause before a charged suspect runs again."""


class GivenBack(msgspec.Struct, kw_only=True):
    """The result of `give_back`: the number of deliveries that wait again, and the receivers that are suspects or charged."""

    count: int = 0
    suspects: list[str] = []
    charged: list[str] = []


LongestMs = Callable[[str], int]
"""Returns how long a run of a receiver may take; 0 for a harmless one, which cannot end a process."""


def give_back(connection: Connection, gone: dict[str, int], longest_ms: LongestMs, now_ms: int) -> GivenBack:
    """Return the deliveries that dead workers were running to waiting. `gone` holds the time at which each worker started."""
    left: dict[str, list[HeldDelivery]] = defaultdict(list)
    rows: Sequence[HeldDelivery] = held.left(connection, DELIVERIES)
    for row in rows:
        left[row.worker].append(row)
    given_back = GivenBack(
        count=protocol.give_back(connection, DELIVERIES, [held.attempt_of(row) for row in rows], now_ms)
    )
    for worker in sorted({*gone, *left}):
        could = [row for row in left[worker] if longest_ms(row.receiver)]
        if len(could) == 1 and could[0].suspected:
            _charge_with(connection, could[0], gone.get(worker), longest_ms(could[0].receiver), now_ms)
            given_back.charged += [row.receiver for row in could]
        else:
            _suspect_all(connection, could, now_ms)
            given_back.suspects += [row.receiver for row in could]
    if len(given_back.charged) < len({*gone, *left}):
        sql.ACQUIT(connection)
    return given_back


def clear(connection: Connection, me: str) -> None:
    """Clear all suspects of this worker because it was asked to stop: if it is killed now, no receiver is to blame."""
    sql.CLEAR(connection, worker=me)


def _suspect_all(connection: Connection, could: list[HeldDelivery], now_ms: int) -> None:
    if could:
        why = "waits: the process ended while it ran; it runs alone next"
        run_at_ms = now_ms + FIRST_PAUSE_MS
        sql.SUSPECT(connection, ids=[row.id for row in could], run_at_ms=run_at_ms, reason=why)


def _charge_with(
    connection: Connection, alone: HeldDelivery, since_ms: int | None, longest_ms: int, now_ms: int
) -> None:
    lived_ms = longest_ms + (max(0, alone.updated_at_ms - since_ms) if since_ms is not None else 0)
    pause_ms = min(2 * max(lived_ms, FIRST_PAUSE_MS), LONGEST_PAUSE_MS)
    why = f"waits: the process ended while it ran alone ({alone.deaths + 1} of {MOST_DEATHS} times)"
    sql.CHARGE(connection, id=alone.id, run_at_ms=now_ms + pause_ms, reason=why)
