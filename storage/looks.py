"""Tasks that have not ended, and when the upstream was last asked about them."""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from sqlalchemy import Connection, bindparam, func, select, update

from storage import events, schema
from storage import tasks as task_rows
from storage.locks import many_writers
from storage.records import TaskRow

tasks = schema.tasks

_open = (
    select(*(tasks.c[name] for name in TaskRow.__struct_fields__))
    .where(
        tasks.c.upstream == bindparam("of_upstream"),
        tasks.c.finished_at_ms.is_(None),
        tasks.c.updated_at_ms <= bindparam("silent_since_ms"),
    )
    .order_by(tasks.c.status != "", func.coalesce(tasks.c.looked_at_ms, 0), tasks.c.updated_at_ms)
    .limit(bindparam("most"))
)
_looked = (
    update(tasks)
    .where(tasks.c.upstream == bindparam("of_upstream"), tasks.c.id.in_(bindparam("ids", expanding=True)))
    .values(looked_at_ms=bindparam("now_ms"))
)


def silent(connection: Connection, upstream: str, silent_since_ms: int, most: int) -> list[TaskRow]:
    """Open tasks that nothing was heard of since then; those never, or least lately, asked about come first."""
    found = connection.execute(
        _open, {"of_upstream": upstream, "silent_since_ms": silent_since_ms, "most": most}
    )
    return [TaskRow(**row._mapping) for row in found]


def looked(connection: Connection, upstream: str, task_ids: Collection[str], now_ms: int) -> None:
    """The upstream was asked about these tasks."""
    if many_writers(connection):
        task_rows.held_all(connection, upstream, task_ids)  # in their order, as callbacks do
    connection.execute(_looked, {"of_upstream": upstream, "ids": list(task_ids), "now_ms": now_ms})


LOST = "LOST"
"""Status of a task that its upstream no longer knows."""


def missed(connection: Connection, row: TaskRow, *, lost_after: int, lost_after_ms: int, now_ms: int) -> bool:
    """The upstream did not know a task; whether it is lost now, told by the signal task.lost."""
    current = task_rows.held(connection, row.upstream, row.id)
    if current is None or current.finished_at_ms is not None or current.updated_at_ms != row.updated_at_ms:
        return False  # it was heard of since
    lost = current.misses + 1 >= lost_after and now_ms - current.created_at_ms >= lost_after_ms
    task_rows.put(
        connection,
        msgspec.structs.replace(
            current,
            misses=current.misses + 1,
            status=LOST if lost else current.status,
            updated_at_ms=now_ms
            if lost
            else current.updated_at_ms,  # that it was asked about is no news of it
            finished_at_ms=now_ms if lost else None,
        ),
    )
    if lost:
        events.record(
            connection,
            upstream=row.upstream,
            task_id=row.id,
            signal="task.lost",
            source="reconcile",
            action=row.action,
            status=LOST,
            detail=f"the upstream did not know it {current.misses + 1} times in a row",
            now_ms=now_ms,
        )
    return lost
