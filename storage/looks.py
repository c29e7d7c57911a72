"""Tasks that have not ended, and when the upstream was last asked about them."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, func, select, update

from storage import schema
from storage.records import TaskRow

tasks = schema.tasks

_open = (
    select(*(tasks.c[name] for name in TaskRow.__struct_fields__))
    .where(
        tasks.c.upstream == bindparam("of_upstream"),
        tasks.c.finished_at_ms.is_(None),
        tasks.c.updated_at_ms <= bindparam("silent_since_ms"),
    )
    .order_by(func.coalesce(tasks.c.looked_at_ms, 0), tasks.c.updated_at_ms)
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


def looked(connection: Connection, upstream: str, task_ids: Iterable[str], now_ms: int) -> None:
    """The upstream was asked about these tasks."""
    connection.execute(_looked, {"of_upstream": upstream, "ids": list(task_ids), "now_ms": now_ms})
