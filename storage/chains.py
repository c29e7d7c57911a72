"""Chains: the tree of tasks that grew from one root, and the counter its budget is held against."""

from __future__ import annotations

import secrets

import msgspec
from sqlalchemy import Connection, bindparam, func, insert, select, update

from midjourney.types import Task
from storage import schema, tasks
from storage.records import ChainRow, ChainUse, TaskRow

chains = schema.chains

_by_id = select(chains).where(chains.c.id == bindparam("id"))
_count = (
    update(chains).where(chains.c.id == bindparam("chain_id")).values(submissions=chains.c.submissions + 1)
)
_set_root = (
    update(chains)
    .where(chains.c.id == bindparam("chain_id"), chains.c.root_task_id == "")
    .values(root_task_id=bindparam("task_id"))
)


def find(connection: Connection, chain_id: str) -> ChainRow | None:
    """One chain, or None."""
    row = connection.execute(_by_id, {"id": chain_id}).first()
    return None if row is None else ChainRow(**row._mapping)


_use = select(
    chains.c.submissions,
    select(func.count())
    .where(
        schema.submissions.c.chain_id == bindparam("chain_id"),
        schema.submissions.c.asked_by == bindparam("by"),
    )
    .scalar_subquery(),
).where(chains.c.id == bindparam("chain_id"))


def use(connection: Connection, chain_id: str, asked_by: str) -> ChainUse | None:
    """What a chain has used up, in all and by one receiver; None when there is no such chain."""
    row = connection.execute(_use, {"chain_id": chain_id, "by": asked_by}).first()
    return None if row is None else ChainUse(submissions=row[0], by_same_receiver=row[1])


def create(connection: Connection, upstream: str, root_task_id: str, now_ms: int) -> ChainRow:
    """A new chain, with nothing submitted in it yet."""
    chain = ChainRow(
        id=secrets.token_hex(8),
        upstream=upstream,
        root_task_id=root_task_id,
        submissions=0,
        created_at_ms=now_ms,
    )
    connection.execute(insert(chains), msgspec.structs.asdict(chain))
    return chain


def count_submission(connection: Connection, chain_id: str) -> None:
    """One more submission was staged in the chain."""
    connection.execute(_count, {"chain_id": chain_id})


def set_root(connection: Connection, chain_id: str, task_id: str) -> None:
    """The chain's first task is known now."""
    connection.execute(_set_root, {"chain_id": chain_id, "task_id": task_id})


def adopt(connection: Connection, row: TaskRow, task: Task | None, now_ms: int) -> TaskRow:
    """A place in a chain for a task that none of our submissions made.

    It joins the chain of the task it was pressed on, where its payload names one that is known ("/up <id> …" in
    novicezk and Plus, `parentId` in trueai); otherwise it is the root of a chain of its own.
    """
    parent_id = "" if task is None else task.pressed_on
    parent = tasks.find(connection, row.upstream, parent_id) if parent_id else None
    if parent is not None and parent.chain_id is None and parent.id != row.id:
        parent = adopt(connection, parent, None, now_ms)
    if parent is not None and parent.chain_id is not None:
        placed = msgspec.structs.replace(
            row, chain_id=parent.chain_id, parent_id=parent.id, depth=parent.depth + 1
        )
    else:
        chain = create(connection, row.upstream, row.id, now_ms)
        placed = msgspec.structs.replace(row, chain_id=chain.id)
    tasks.put(connection, placed)
    return placed
