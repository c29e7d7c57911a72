"""The rows of tasks: reading, locking and writing them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec
from sqlalchemy import Connection

from storage import schema
from storage.driver.bulk import reserve_rows, upsert_rows
from storage.driver.decoder import decoder_of
from storage.driver.locks import many_writers
from storage.records import TaskRow
from storage.tasks import aliases, sql

tasks = schema.tasks

_rows = msgspec.json.Decoder(list[tuple[object, ...]])
_row = decoder_of(TaskRow)


def blank(upstream: str, task_id: str, now_ms: int) -> TaskRow:
    """The row of an unknown task."""
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
    """One task, by its id or an alias, or None."""
    return find_named(connection, upstream, [task_id]).get(task_id)


def find_named(connection: Connection, upstream: str, names: Collection[str]) -> dict[str, TaskRow]:
    """The known ones of these tasks, by the name that was given: an id or an alias."""
    found = find_all(connection, upstream, names)
    if not (missing := [name for name in names if name not in found]):
        return found
    if not (ids := aliases.names(connection, upstream, missing)):
        return found
    rows = find_all(connection, upstream, set(ids.values()))
    return found | {name: rows[task_id] for name, task_id in ids.items() if task_id in rows}


def find_all(connection: Connection, upstream: str, task_ids: Collection[str]) -> dict[str, TaskRow]:
    """The known ones of these tasks, by id."""
    if many_writers(connection):
        return _by_id(sql.TASKS.all(connection, upstream=upstream, ids=list(task_ids)))
    encoded = sql.TASKS_AS_ONE_VALUE.one(connection, upstream=upstream, ids=list(task_ids))
    return _by_id(map(_row, _rows.decode(encoded)))


def hold(connection: Connection, upstream: str, task_ids: Collection[str], now_ms: int) -> dict[str, TaskRow]:
    """The known ones of these tasks, by id. Locks all of them, including unknown ones, until the transaction ends.

    A task must be locked with `hold` before it is written with `put`. An unknown one must then be put, because a blank row was
    inserted to lock it.
    """
    if not many_writers(connection):
        return find_all(connection, upstream, task_ids)
    wanted = sorted(task_ids)
    known = _by_id(sql.HOLD_TASKS.all(connection, upstream=upstream, ids=wanted))
    blanks = [
        msgspec.structs.astuple(blank(upstream, task_id, now_ms))
        for task_id in wanted
        if task_id not in known
    ]
    if not blanks:
        return known
    names, keys = TaskRow.__struct_fields__, ("upstream", "id")
    inserted = {task_id for _, task_id in reserve_rows(connection, tasks, blanks, names, keys)}
    # Rows that another transaction inserted in the meantime.
    if others := [task_id for task_id in wanted if task_id not in known and task_id not in inserted]:
        known |= _by_id(sql.HOLD_TASKS.all(connection, upstream=upstream, ids=others))
    return known


def held(connection: Connection, upstream: str, task_id: str) -> TaskRow | None:
    """One known task, locked until the transaction ends; None if it is unknown."""
    return held_all(connection, upstream, [task_id]).get(task_id)


def held_all(connection: Connection, upstream: str, task_ids: Collection[str]) -> dict[str, TaskRow]:
    """The known ones of these tasks, by id, locked until the transaction ends."""
    if not many_writers(connection):
        return find_all(connection, upstream, task_ids)
    return _by_id(sql.HOLD_TASKS.all(connection, upstream=upstream, ids=sorted(task_ids)))


def _by_id(rows: Iterable[TaskRow]) -> dict[str, TaskRow]:
    return {row.id: row for row in rows}


def drop(connection: Connection, upstream: str, task_id: str) -> None:
    """Delete the row of a task without a chain."""
    sql.DROP_TASK(connection, upstream=upstream, id=task_id)


def put(connection: Connection, *rows: TaskRow) -> None:
    """Insert or update the rows of tasks that this transaction has locked."""
    values = [msgspec.structs.astuple(row) for row in rows]
    upsert_rows(connection, tasks, values, TaskRow.__struct_fields__, ("upstream", "id"))
