"""Places that uncertain submissions occupy: each may be a running task at its upstream, but not for ever."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from storage.submissions import sql_evidence as sql
from storage.submissions.sql_evidence import Holder

JUDGED_BY = 200
"""The number of our latest finished tasks from which hookchain learns how long a task takes."""


def holders(connection: Connection) -> list[Holder]:
    """All uncertain submissions that count as jobs."""
    return sql.HOLDERS.all(connection)


def free(connection: Connection, submission_ids: Collection[str]) -> int:
    """Stop counting these submissions as jobs, if they are still uncertain; returns their number."""
    if not submission_ids:
        return 0
    return sql.FREE(connection, ids=list(submission_ids))


def longest_ms(connection: Connection, upstream: str) -> int:
    """The longest time that one of our latest finished tasks took at an upstream; 0 if none has finished."""
    return sql.LONGEST_MS.first(connection, upstream=upstream, most=JUDGED_BY) or 0
