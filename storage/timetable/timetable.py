"""The rows of the timetable. Each decision about a rule's times moves its row, and what the decision causes is written with it.

A row is moved only if it is still as it was when the decision was made. So of two processes, one moves it, and the other writes nothing.
A row outlives its rule, so that a rule that comes back repeats nothing.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from storage.records import Timed
from storage.timetable import sql


def rows(connection: Connection) -> dict[str, Timed]:
    """All rows, by the rule's name."""
    return {one.rule: one for one in sql.EVERY.all(connection)}


def move(connection: Connection, seen: Timed | None, now: Timed) -> bool:
    """Replace the row `seen`, or add the first one. False if another process was quicker."""
    values = msgspec.structs.asdict(now)
    if seen is None:
        return sql.ADD(connection, **values) > 0
    return sql.MOVE(connection, **values, seen_every=seen.every, seen_decided_ms=seen.decided_ms) > 0
