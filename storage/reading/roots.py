"""Reads the first task of a chain, for the receivers that ask for it."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection

from storage.driver.decoder import columns_of
from storage.driver.statements import Query
from storage.events import event_log
from storage.records import ChainRoot, ClaimedDelivery, Submission, TaskRow


class _Made(NamedTuple):
    """A task, and the submission that made it."""

    task: TaskRow
    submission: Submission | None


_ROOT = Query(
    f"""
    SELECT {columns_of(TaskRow, "tasks")}, {columns_of(Submission, "submissions")}
    FROM tasks
    LEFT JOIN submissions ON submissions.id = tasks.submission_id
    WHERE tasks.upstream = :upstream AND tasks.id = :task_id
    """,
    _Made,
)
# Others may have ordered the same later; the first one made it.
_STATE = Query(
    """
    SELECT state FROM tickets
    WHERE client = :client AND submission_id = :submission_id AND submission_id <> ''
    ORDER BY created_at_ms, id LIMIT 1
    """,
    str,
)


def of_event(
    connection: Connection, claimed: ClaimedDelivery, *, as_it_was: bool = False
) -> ChainRoot | None:
    """The root of the chain of an event; None if it has no chain. `as_it_was`: its payload is the one of the time of the event."""
    chain, event = claimed.chain, claimed.event
    if chain is None:
        return None
    if claimed.is_root:
        return ChainRoot(client_state=_client_state(connection, chain.client, claimed.maker_id))
    found = _ROOT.first(connection, upstream=chain.upstream, task_id=chain.root_task_id)
    if found is None:
        return ChainRoot()
    if as_it_was:
        payload, is_fact = (
            event_log.latest_at(connection, chain.upstream, chain.root_task_id, event.id),
            True,
        )
    else:
        payload, is_fact = event_log.latest(connection, chain.upstream, chain.root_task_id)
    return ChainRoot(
        task=found.task,
        submission=found.submission,
        payload=payload,
        is_unverified=payload != b"" and not is_fact,
        client_state=_client_state(connection, chain.client, found.task.submission_id or ""),
    )


def _client_state(connection: Connection, client: str, submission_id: str) -> str | None:
    """The `state` that a client of the gateway gave with its order, which is not sent on; None if no client ordered the task."""
    if not client or not submission_id:
        return None
    return _STATE.first(connection, client=client, submission_id=submission_id)
