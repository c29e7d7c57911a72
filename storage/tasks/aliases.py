"""Aliases: a relay answers a submit with an id of its own, and calls back with the id of the server behind it.

Once both ids are known to belong to one submission they are one task: events and requests that use the alias refer to the task.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from storage.tasks import sql


def names(connection: Connection, upstream: str, ids: Collection[str]) -> dict[str, str]:
    """The aliases among these ids, each with its task's id."""
    if not ids:
        return {}
    return dict(sql.ALIASES.all(connection, upstream=upstream, ids=list(ids)))


def join(connection: Connection, upstream: str, name: str, task_id: str) -> None:
    """Make `name` an alias of the task; both rows must be locked. A signal that both have given is delivered only once."""
    sql.ADD_ALIAS(connection, upstream=upstream, id=name, task_id=task_id)
    given = sql.SIGNALS_OF_TASK.all(connection, upstream=upstream, task_id=task_id)
    sql.SILENCE(connection, upstream=upstream, alias=name, given=given)
    sql.MOVE_EVENTS(connection, upstream=upstream, alias=name, task_id=task_id)
    sql.DROP_TASK(connection, upstream=upstream, id=name)
