"""The task that a client means: by a ticket's id, or by the id that the upstream gave it before the client came to the gateway."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from storage.engine import Connection
from storage.records import Ticket
from storage.tasks import rows as tasks
from storage.tickets import tickets
from storage.tickets.known import Known, known


class Target(msgspec.Struct, frozen=True):
    """A task at an upstream; `task_id` is "" while the upstream has none. `ticket` is the client's, if it has one. `is_new`: the
    database does not know the task, but the only upstream may."""

    upstream: str
    task_id: str
    ticket: Ticket | None = None
    known: Known | None = None
    is_new: bool = False


def removed(given: str, upstream: str) -> str:
    """What a client reads about a task whose account is no longer in the settings."""
    return (
        f"task {given} is at the account {upstream!r}, which is not in the settings of hookchain any more. "
        f"Ask the operator to add [upstreams.{upstream}] again"
    )


def find(
    connection: Connection, client: str, given: str, upstreams: Sequence[str], now_ms: int
) -> Target | None:
    """The task that a client means by an id; None if there is none, or if it is another client's."""
    ticket = tickets.find(connection, client, [given]).get(given)
    if ticket is not None:
        (seen,) = known(connection, [ticket], now_ms)
        task_id = seen.task.id if seen.task is not None else ticket.task_id
        return Target(seen.upstream, task_id, ticket, seen)
    if tickets.exists(connection, given):
        return None
    for upstream in upstreams:
        row = tasks.find(connection, upstream, given)
        if row is None:
            continue
        if tickets.belongs_to_another(connection, client, upstream, row.id, row.submission_id):
            return None
        return Target(upstream, row.id)
    return Target(upstreams[0], given, is_new=True) if len(upstreams) == 1 else None
