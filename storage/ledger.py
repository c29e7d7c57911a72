"""What submissions came to, for those who pay: by rule, chain or day."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from sqlalchemy import Connection, and_, bindparam, exists, select, text

from storage import schema
from storage.prepared import Prepared

submissions, tasks = schema.submissions, schema.tasks

_failed = exists().where(
    and_(tasks.c.submission_id == submissions.c.id, text("tasks.status IN ('FAILURE', 'CANCEL', 'LOST')"))
)
_entries = Prepared(
    select(
        submissions.c.id,
        submissions.c.chain_id,
        submissions.c.upstream,
        submissions.c.kind,
        submissions.c.label,
        submissions.c.request,
        submissions.c.asked_by,
        submissions.c.state,
        submissions.c.repeats,
        submissions.c.created_at_ms,
        _failed.label("failed"),
    )
    .where(submissions.c.created_at_ms >= bindparam("since_ms"))
    .order_by(submissions.c.created_at_ms, submissions.c.id)
)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One submission as the ledger sees it. `failed`: the task it made came to nothing; `repeats`: asked for again."""

    id: str
    chain_id: str
    upstream: str
    kind: str
    label: str
    request: bytes
    asked_by: str
    state: str
    repeats: int
    created_at_ms: int
    failed: bool


def entries(connection: Connection, since_ms: int) -> Iterator[Entry]:
    """All submissions since then, oldest first."""
    for row in _entries(connection, since_ms=since_ms):
        yield Entry(**{**row._mapping, "failed": bool(row.failed)})
