"""Counts how often a receiver has fired for a task, a root or a chain, for `limit` and `once_per`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec
from sqlalchemy import Connection

from storage.deliveries import sql
from storage.submissions import submission_queue
from storage.tasks import rows as tasks

Per = Literal["task", "root", "chain"]

HIGHEST_LIMIT = 1_000_000
"""A higher limit would have no effect in practice, and not every database could count to it."""

_PRESSES = frozenset({"action", "change", "simple_change", "modal"})


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver may fire `most` times per task, per chain, or per root: the task that a prompt made, not a press."""

    most: int
    per: Per = "chain"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The task and chain that a receiver fires for."""

    upstream: str
    task_id: str
    chain_id: str


def reached(connection: Connection, receiver: str, limit: Limit, subject: Subject) -> str:
    """Returns why the receiver may not fire for this subject any more, or ""."""
    scope = _scope(connection, limit.per, subject)
    fired = sql.FIRED.first(connection, receiver=receiver, scope=scope) or 0
    return _reason(fired, limit) if fired >= limit.most else ""


def fire(connection: Connection, receiver: str, limit: Limit, subject: Subject) -> str:
    """Count one firing; returns "", or why the limit does not allow it."""
    if limit.most > 0:
        scope = _scope(connection, limit.per, subject)
        if sql.FIRE.first(connection, receiver=receiver, scope=scope, most=limit.most) is not None:
            return ""
    return reached(connection, receiver, limit, subject)


def _reason(fired: int, limit: Limit) -> str:
    times = "once" if fired == 1 else f"{fired} times"
    return f"did not fire: it has fired {times} for this {limit.per}, and its limit is {limit.most}"


def _scope(connection: Connection, per: Per, subject: Subject) -> str:
    return scope_of(per, subject, lambda: root_of(connection, subject.upstream, subject.task_id))


def scope_of(per: Per, subject: Subject, root: Callable[[], str]) -> str:
    """What a limit counts by; `root` returns the id of the subject's root."""
    match per:
        case "chain":
            return f"chain:{subject.chain_id}"
        case "task":
            return f"task:{subject.upstream}|{subject.task_id}"
        case "root":
            return f"root:{subject.upstream}|{root()}"


def root_of(connection: Connection, upstream: str, task_id: str) -> str:
    """The id of the task itself or its nearest ancestor that was not made by a press."""
    seen: set[str] = set()  # an earlier release could make a modal its own parent, and such rows still exist
    while (
        task_id not in seen
        and (row := tasks.find(connection, upstream, task_id)) is not None
        and row.parent_id
    ):
        seen.add(task_id)
        made_by = submission_queue.find(connection, row.submission_id) if row.submission_id else None
        if made_by is not None and made_by.kind not in _PRESSES:
            break
        task_id = row.parent_id
    return task_id
