"""Tickets for what the operator's rules add to a client's task, if the client wants to see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import Connection

from storage.records import Ticket
from storage.submissions import submission_queue
from storage.tickets import sql, tickets

Children = Literal["hide", "list", "tell"]


def add(
    connection: Connection,
    submission_id: str,
    client: str,
    children: Children,
    upstreams: Sequence[str],
    now_ms: int,
) -> Ticket | None:
    """Give a client a ticket for a submission that a rule or plugin made in its chain; None if there is nothing to be seen.

    With "tell" it has the `state` and the hook of the client's own order.
    """
    submission = submission_queue.find(connection, submission_id)
    if (
        submission is None
        or submission.asked_by.startswith("person:")
        or submission.kind in ("modal", "cancel")
    ):
        return None
    root = sql.FIRST_OF_CHAIN.first(connection, chain_id=submission.chain_id, client=client)
    if root is None:
        return None
    told = children == "tell"
    ticket = Ticket(
        id="",
        client=client,
        kind=submission.kind,
        upstream=submission.upstream,
        submission_id=submission.id,
        parent_id=submission.parent_id,
        prompt=root.prompt,
        state=root.state if told else "",
        hook=root.hook if told else "",
        digest=submission.id,
        created_at_ms=now_ms,
        answered_at_ms=now_ms,
    )
    return tickets.add(connection, ticket, upstreams)
