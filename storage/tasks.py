"""Tasks: where each one stands, and its place in its chain."""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects.sqlite import insert as upsert

from storage import schema
from storage.records import TaskRow

tasks = schema.tasks

_by_ids = select(tasks).where(
    tasks.c.upstream == bindparam("upstream"), tasks.c.id.in_(bindparam("ids", expanding=True))
)
_insert_task = upsert(tasks)
_upsert_task = _insert_task.on_conflict_do_update(
    index_elements=["upstream", "id"],
    set_={
        name: _insert_task.excluded[name]
        for name in TaskRow.__struct_fields__
        if name not in ("upstream", "id", "created_at_ms")
    },
)


def blank(upstream: str, task_id: str, now_ms: int) -> TaskRow:
    """A task nobody has heard of yet."""
    return TaskRow(
        upstream=upstream,
        id=task_id,
        status="",
        progress=-1,
        action="",
        chain_id=None,
        submission_id=None,
        parent_id="",
        depth=0,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
        finished_at_ms=None,
    )


def find(connection: Connection, upstream: str, task_id: str) -> TaskRow | None:
    """One task, or None."""
    return find_all(connection, upstream, [task_id]).get(task_id)


def find_all(connection: Connection, upstream: str, task_ids: Collection[str]) -> dict[str, TaskRow]:
    """Those of the tasks that are known, by id."""
    rows = connection.execute(_by_ids, {"upstream": upstream, "ids": list(task_ids)})
    return {row.id: TaskRow(**row._mapping) for row in rows}


def put(connection: Connection, *rows: TaskRow) -> None:
    """Write the rows of tasks, new or changed."""
    connection.execute(_upsert_task, [msgspec.structs.asdict(row) for row in rows])
