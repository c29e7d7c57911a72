"""Chains: the tree of tasks that grew from one root, and the counters for its budget."""

from __future__ import annotations

import secrets

import msgspec
from sqlalchemy import Connection

from midjourney.decode import kept_task
from storage.driver import locks
from storage.events import event_log
from storage.records import ChainRow, ChainUse, beginning
from storage.tasks import marks, sql
from storage.tasks import rows as tasks


def find(connection: Connection, chain_id: str) -> ChainRow | None:
    """One chain, or None."""
    return sql.CHAIN.first(connection, id=chain_id)


def use(connection: Connection, chain_id: str, asked_by: str) -> ChainUse | None:
    """How much rules and plugins have used in a chain; None if there is no such chain. Locks the chain's row."""
    locks.chain(connection, chain_id)
    row = sql.CHAIN_USE.first(connection, id=chain_id, asked_by=asked_by)
    return None if row is None else ChainUse(submissions=row.automatic, by_same_receiver=row.by_same_receiver)


def create(
    connection: Connection,
    upstream: str,
    root_task_id: str,
    now_ms: int,
    *,
    prompt: str = "",
    state: str | None = None,
    client: str = "",
) -> ChainRow:
    """Create a chain without submissions."""
    chain = ChainRow(
        id=secrets.token_hex(8),
        upstream=upstream,
        root_task_id=root_task_id,
        submissions=0,
        created_at_ms=now_ms,
        prompt=beginning(prompt),
        state=state,
        client=client,
    )
    sql.CREATE_CHAIN(connection, **msgspec.structs.asdict(chain))
    return chain


class Root(msgspec.Struct, frozen=True):
    """The root of a chain, and who submitted it. `state` is None until it is first looked up."""

    chain_id: str
    upstream: str
    task_id: str
    state: str | None
    client: str


NOBODY = Root("", "", "", "", "")


def root_of(connection: Connection, chain_id: str) -> Root:
    """The root of a chain; `NOBODY` if there is no such chain."""
    row = sql.CHAIN.first(connection, id=chain_id)
    return NOBODY if row is None else Root(row.id, row.upstream, row.root_task_id, row.state, row.client)


def state_of(connection: Connection, root: Root) -> str:
    """The `state` that the submitter gave to the root of a chain; looked up once in its task's payload, then stored."""
    if root.state is not None:
        return root.state
    shown = kept_task(event_log.latest(connection, root.upstream, root.task_id)[0])
    state = beginning(marks.without_mark(shown.state)) if shown is not None else ""
    sql.SET_STATE(connection, id=root.chain_id, state=state)
    return state


def count_submission(connection: Connection, chain_id: str, *, by_hand: bool) -> None:
    """Count one more submission in the chain, staged by a person or by a rule."""
    sql.COUNT_SUBMISSION(connection, id=chain_id, by_rules=int(not by_hand))


def set_root(connection: Connection, chain_id: str, task_id: str) -> None:
    """Set the chain's first task, unless it is set."""
    sql.SET_ROOT(connection, id=chain_id, task_id=task_id)


def set_prompt(connection: Connection, chain_id: str, prompt: str) -> None:
    """Change the chain's prompt because its first request was edited; does nothing once its first task is known."""
    sql.SET_PROMPT(connection, id=chain_id, prompt=beginning(prompt))


def adopt(
    connection: Connection, upstream: str, task_id: str, parent_id: str, now_ms: int
) -> tuple[str, int]:
    """Give a task that none of our submissions made a place in a chain; returns the chain's id and the depth.

    The task joins the chain of the task it was pressed on, if its payload named a known one ("/up <id> …" in novicezk and Plus,
    `parentId` in trueai); otherwise it becomes the root of a new chain.
    """
    row = tasks.held(connection, upstream, task_id)
    if row is not None and row.chain_id is not None:
        return row.chain_id, row.depth  # another process has placed it already
    parent = tasks.find(connection, upstream, parent_id) if parent_id and parent_id != task_id else None
    if parent is None:
        prompt = row.prompt if row is not None else ""
        chain_id, depth, parent_id = create(connection, upstream, task_id, now_ms, prompt=prompt).id, 0, ""
    elif parent.chain_id is not None:
        chain_id, depth = parent.chain_id, parent.depth + 1
    else:  # the parent becomes a root, whatever it was pressed on itself
        chain_id, depth = adopt(connection, upstream, parent.id, "", now_ms)[0], 1
    sql.PLACE_IN_CHAIN(
        connection, upstream=upstream, id=task_id, chain_id=chain_id, depth=depth, parent_id=parent_id
    )
    return chain_id, depth


def count_undelivered(connection: Connection, chain_id: str, now_ms: int) -> int:
    """The number of events and deliveries of a chain that are due or running: rules and plugins may still request more because
    of them. A failed delivery counts again once its retry is due."""
    pending = sql.COUNT_PENDING.one(connection, chain_id=chain_id)
    return pending + sql.COUNT_DUE.one(connection, chain_id=chain_id, now_ms=now_ms)
