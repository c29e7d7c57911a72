"""Jobs of ours that an upstream has under way: what its plan limits (Midjourney's allow 3 or 12 at once)."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, func, select, text

from storage import schema
from storage.prepared import Prepared

tasks, submissions = schema.tasks, schema.submissions

_open_tasks = Prepared(
    select(func.count()).where(
        tasks.c.upstream == bindparam("of_upstream"),
        text("tasks.finished_at_ms IS NULL"),
        tasks.c.submission_id.is_not(None),
        tasks.c.status != "MODAL",  # a window that waits takes no place
    )
)
_on_their_way = Prepared(
    select(func.count()).where(
        submissions.c.state.in_(bindparam("states", expanding=True)),
        submissions.c.upstream == bindparam("of_upstream"),
        submissions.c.kind != "cancel",
    )
)


def under_way(connection: Connection, upstream: str) -> int:
    """Tasks of ours that have not ended, and submissions that may be about to make one."""
    running = _open_tasks(connection, of_upstream=upstream).scalar_one()
    coming = _on_their_way(connection, of_upstream=upstream, states=["sending", "uncertain"]).scalar_one()
    return int(running) + int(coming)
