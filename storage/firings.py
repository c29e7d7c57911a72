"""How often a receiver has fired for a task, a picture or a chain: what `limit` and `once_per` are held against."""

from __future__ import annotations

from typing import Literal

import msgspec
from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects.postgresql import insert as upsert  # compiles for SQLite too

from storage import schema, submissions, tasks
from storage.prepared import Prepared

Per = Literal["task", "root", "chain"]

firings = schema.firings

HIGHEST_LIMIT = 1_000_000
"""More is no limit; and no number that every database can count to."""

_PRESSES = frozenset({"action", "change", "simple_change", "modal"})

_count = Prepared(
    select(firings.c.count).where(
        firings.c.receiver == bindparam("of_receiver"), firings.c.scope == bindparam("in_scope")
    )
)
_insert = upsert(firings)
_fire = Prepared(
    _insert.on_conflict_do_update(
        index_elements=["receiver", "scope"],
        set_={"count": firings.c.count + 1},
        where=firings.c.count < bindparam("most"),
    ).returning(firings.c.count)
)


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver may fire `most` times per task, per chain, or per root: the task that a prompt made, not a press."""

    most: int
    per: Per = "chain"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What a receiver fires for."""

    upstream: str
    task_id: str
    chain_id: str


def reached(connection: Connection, receiver: str, limit: Limit, subject: Subject) -> str:
    """Why the receiver may not fire for this any more, or ""."""
    scope = _scope(connection, limit.per, subject)
    fired = _count(connection, of_receiver=receiver, in_scope=scope).scalar() or 0
    return _reason(fired, limit) if fired >= limit.most else ""


def fire(connection: Connection, receiver: str, limit: Limit, subject: Subject) -> str:
    """Count one more, unless that is one too many: then why."""
    if limit.most > 0:
        scope = _scope(connection, limit.per, subject)
        if _fire(connection, receiver=receiver, scope=scope, count=1, most=limit.most).first() is not None:
            return ""
    return reached(connection, receiver, limit, subject)


def _reason(fired: int, limit: Limit) -> str:
    times = "once" if fired == 1 else f"{fired} times"
    return f"did not fire: it has {times} for this {limit.per}, its limit is {limit.most}"


def _scope(connection: Connection, per: Per, subject: Subject) -> str:
    match per:
        case "chain":
            return f"chain:{subject.chain_id}"
        case "task":
            return f"task:{subject.upstream}|{subject.task_id}"
        case "root":
            return f"root:{subject.upstream}|{_root_of(connection, subject.upstream, subject.task_id)}"


def _root_of(connection: Connection, upstream: str, task_id: str) -> str:
    """The nearest task above, or itself, that no press made."""
    seen: set[str] = set()  # a window could become its own parent once, and such rows are kept
    while (
        task_id not in seen
        and (row := tasks.find(connection, upstream, task_id)) is not None
        and row.parent_id
    ):
        seen.add(task_id)
        made_by = submissions.find(connection, row.submission_id) if row.submission_id else None
        if made_by is not None and made_by.kind not in _PRESSES:
            break
        task_id = row.parent_id
    return task_id
