"""Tasks: where each one stands, and its place in its chain."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, func, select

from storage import schema
from storage.bulk import upsert_rows
from storage.prepared import Prepared
from storage.records import TaskRow

tasks = schema.tasks

# All rows as one value: see storage/bulk.py for what a row at a time costs.
_by_ids = Prepared(
    select(
        func.json_group_array(func.json_array(*(tasks.c[name] for name in TaskRow.__struct_fields__)))
    ).where(tasks.c.upstream == bindparam("upstream"), tasks.c.id.in_(bindparam("ids", expanding=True)))
)
_rows = msgspec.json.Decoder(list[tuple[Any, ...]])


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
        looked_at_ms=None,
        misses=0,
    )


def find(connection: Connection, upstream: str, task_id: str) -> TaskRow | None:
    """One task, or None."""
    return find_all(connection, upstream, [task_id]).get(task_id)


def find_all(connection: Connection, upstream: str, task_ids: Collection[str]) -> dict[str, TaskRow]:
    """Those of the tasks that are known, by id."""
    found = _by_ids(connection, upstream=upstream, ids=list(task_ids)).scalar_one()
    names = TaskRow.__struct_fields__
    rows = [TaskRow(**dict(zip(names, values, strict=True))) for values in _rows.decode(found)]
    return {row.id: row for row in rows}


def put(connection: Connection, *rows: TaskRow) -> None:
    """Write the rows of tasks, new or changed."""
    values = [msgspec.structs.astuple(row) for row in rows]
    upsert_rows(connection, tasks, values, TaskRow.__struct_fields__, ("upstream", "id"))
