"""Tasks: where each one stands, and its place in its chain."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, bindparam, func, select

from storage import schema
from storage.bulk import reserve_rows, upsert_rows
from storage.locks import many_writers
from storage.prepared import Prepared
from storage.records import TaskRow

tasks = schema.tasks

_columns = [tasks.c[name] for name in TaskRow.__struct_fields__]
_of_ids = and_(tasks.c.upstream == bindparam("upstream"), tasks.c.id.in_(bindparam("ids", expanding=True)))
# All rows as one value: see storage/bulk.py for what a row at a time costs with SQLite.
_as_one = Prepared(select(func.json_group_array(func.json_array(*_columns))).where(_of_ids))
_rows = msgspec.json.Decoder(list[tuple[Any, ...]])
_by_ids = Prepared(select(*_columns).where(_of_ids))
_to_hold = Prepared(select(*_columns).where(_of_ids).order_by(tasks.c.id).with_for_update())


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
    if many_writers(connection):
        return _asked(_by_ids(connection, upstream=upstream, ids=list(task_ids)))
    found = _as_one(connection, upstream=upstream, ids=list(task_ids)).scalar_one()
    return _asked(_rows.decode(found))


def hold(connection: Connection, upstream: str, task_ids: Collection[str], now_ms: int) -> dict[str, TaskRow]:
    """Those of the tasks that are known, by id. All of them, also the unknown, are ours until the transaction ends.

    Whoever means to `put` a task holds it first. An unknown one must be put then: its place is kept by a blank row.
    """
    if not many_writers(connection):
        return find_all(connection, upstream, task_ids)
    wanted = sorted(task_ids)
    found = _asked(_to_hold(connection, upstream=upstream, ids=wanted))
    unknown = [msgspec.structs.astuple(blank(upstream, one, now_ms)) for one in wanted if one not in found]
    if not unknown:
        return found
    names, keys = TaskRow.__struct_fields__, ("upstream", "id")
    made = {task_id for _, task_id in reserve_rows(connection, tasks, unknown, names, keys)}
    if others := [one for one in wanted if one not in found and one not in made]:
        found |= _asked(_to_hold(connection, upstream=upstream, ids=others))
    return found


def held(connection: Connection, upstream: str, task_id: str) -> TaskRow | None:
    """One task that is known, ours until the transaction ends; None when it is not known."""
    return held_all(connection, upstream, [task_id]).get(task_id)


def held_all(connection: Connection, upstream: str, task_ids: Collection[str]) -> dict[str, TaskRow]:
    """Those of the tasks that are known, by id, ours until the transaction ends."""
    if not many_writers(connection):
        return find_all(connection, upstream, task_ids)
    return _asked(_to_hold(connection, upstream=upstream, ids=sorted(task_ids)))


def _asked(rows: Iterable[Iterable[Any]]) -> dict[str, TaskRow]:
    names = TaskRow.__struct_fields__
    found = [TaskRow(**dict(zip(names, values, strict=True))) for values in rows]
    return {row.id: row for row in found}


def put(connection: Connection, *rows: TaskRow) -> None:
    """Write the rows of tasks, new or changed, that are held."""
    values = [msgspec.structs.astuple(row) for row in rows]
    upsert_rows(connection, tasks, values, TaskRow.__struct_fields__, ("upstream", "id"))
