"""Chains: the tree of tasks that grew from one root, and the counter its budget is held against."""

from __future__ import annotations

import secrets

import msgspec
from sqlalchemy import Connection, and_, bindparam, func, insert, select, update

from storage import locks, schema, tasks
from storage.prepared import Prepared
from storage.records import ChainRow, ChainUse, beginning

chains = schema.chains

_by_id = select(chains).where(chains.c.id == bindparam("id"))
_count = Prepared(
    update(chains).where(chains.c.id == bindparam("chain_id")).values(submissions=chains.c.submissions + 1)
)
_set_root = (
    update(chains)
    .where(chains.c.id == bindparam("chain_id"), chains.c.root_task_id == "")
    .values(root_task_id=bindparam("task_id"))
)

_of_task = and_(
    schema.events.c.upstream == schema.tasks.c.upstream, schema.events.c.task_id == schema.tasks.c.id
)


def find(connection: Connection, chain_id: str) -> ChainRow | None:
    """One chain, or None."""
    row = connection.execute(_by_id, {"id": chain_id}).first()
    return None if row is None else ChainRow(**row._mapping)


_use = Prepared(
    select(
        chains.c.submissions,
        select(func.count())
        .where(
            schema.submissions.c.chain_id == bindparam("chain_id"),
            schema.submissions.c.asked_by == bindparam("by"),
            schema.submissions.c.state != "refused",
        )
        .label("by_same_receiver"),
    ).where(chains.c.id == bindparam("chain_id"))
)


def use(connection: Connection, chain_id: str, asked_by: str) -> ChainUse | None:
    """What a chain has used up, in all and by one receiver; None when there is no such chain. It is ours from then on."""
    locks.chain(connection, chain_id)
    row = _use(connection, chain_id=chain_id, by=asked_by).first()
    return (
        None if row is None else ChainUse(submissions=row.submissions, by_same_receiver=row.by_same_receiver)
    )


_create = Prepared(insert(chains))


def create(
    connection: Connection, upstream: str, root_task_id: str, now_ms: int, *, prompt: str = ""
) -> ChainRow:
    """A new chain, with nothing submitted in it yet."""
    chain = ChainRow(
        id=secrets.token_hex(8),
        upstream=upstream,
        root_task_id=root_task_id,
        submissions=0,
        created_at_ms=now_ms,
        prompt=beginning(prompt),
    )
    _create(connection, **msgspec.structs.asdict(chain))
    return chain


def count_submission(connection: Connection, chain_id: str) -> None:
    """One more submission was staged in the chain."""
    _count(connection, chain_id=chain_id)


def set_root(connection: Connection, chain_id: str, task_id: str) -> None:
    """The chain's first task is known now."""
    connection.execute(_set_root, {"chain_id": chain_id, "task_id": task_id})


_reword = (
    update(chains)
    .where(chains.c.id == bindparam("chain_id"), chains.c.root_task_id == "")
    .values(prompt=bindparam("new_prompt"))
)


def reword(connection: Connection, chain_id: str, prompt: str) -> None:
    """The request that the chain begins with has another prompt now; nothing, once its first task is known."""
    connection.execute(_reword, {"chain_id": chain_id, "new_prompt": beginning(prompt)})


_place = Prepared(
    update(schema.tasks)
    .where(schema.tasks.c.upstream == bindparam("of_upstream"), schema.tasks.c.id == bindparam("task_id"))
    .values(chain_id=bindparam("new_chain"), depth=bindparam("new_depth"), parent_id=bindparam("new_parent"))
)


def adopt(
    connection: Connection, upstream: str, task_id: str, parent_id: str, now_ms: int
) -> tuple[str, int]:
    """A place in a chain for a task that none of our submissions made: the chain's id, and the depth.

    It joins the chain of the task it was pressed on, where its payload named one that is known ("/up <id> …" in
    novicezk and Plus, `parentId` in trueai); otherwise it is the root of a chain of its own.
    """
    row = tasks.held(connection, upstream, task_id)
    if row is not None and row.chain_id is not None:
        return row.chain_id, row.depth  # somebody was quicker
    parent = tasks.find(connection, upstream, parent_id) if parent_id and parent_id != task_id else None
    if parent is None:
        prompt = row.prompt if row is not None else ""
        chain_id, depth, parent_id = create(connection, upstream, task_id, now_ms, prompt=prompt).id, 0, ""
    elif parent.chain_id is not None:
        chain_id, depth = parent.chain_id, parent.depth + 1
    else:  # whatever it was pressed on itself, it is the first of its chain that anybody asks about
        chain_id, depth = adopt(connection, upstream, parent.id, "", now_ms)[0], 1
    _place(
        connection,
        of_upstream=upstream,
        task_id=task_id,
        new_chain=chain_id,
        new_depth=depth,
        new_parent=parent_id,
    )
    return chain_id, depth


_pending = (
    select(func.count())
    .select_from(schema.tasks)
    .join(schema.events, _of_task)
    .where(schema.tasks.c.chain_id == bindparam("id"), schema.events.c.pending)
)
_is_due = and_(
    schema.deliveries.c.state.in_(bindparam("open", expanding=True)),
    schema.deliveries.c.run_at_ms <= bindparam("now_ms"),
)
_undelivered = (  # as a filter, not a condition, with which SQLite would begin at all that is due in any chain
    select(func.count().filter(_is_due))
    .select_from(schema.tasks)
    .join(schema.events, _of_task)
    .join(schema.deliveries, schema.deliveries.c.event_id == schema.events.c.id)
    .where(schema.tasks.c.chain_id == bindparam("id"))
)


def untold(connection: Connection, chain_id: str, now_ms: int) -> int:
    """How much of what happened in a chain is due to be told to rules and plugins, or is being told: what they ask for
    then is not there yet. One that failed and is tried again later does not count before."""
    pending: int = connection.execute(_pending, {"id": chain_id}).scalar_one()
    due: int = connection.execute(
        _undelivered, {"id": chain_id, "now_ms": now_ms, "open": ("waiting", "running")}
    ).scalar_one()
    return pending + due
