"""The statements about tickets for people: one with all that happened to it, and what each client uses."""

from __future__ import annotations

from typing import NamedTuple

from storage.driver.decoder import columns_of
from storage.driver.statements import Query
from storage.records import Attempt, Delivery, Event, Ticket

OF_CHAIN = Query(
    f"""
    SELECT {columns_of(Ticket, "tickets")} FROM tickets
    JOIN submissions ON submissions.id = tickets.submission_id
    WHERE submissions.chain_id = :chain_id AND tickets.submission_id <> ''
    ORDER BY tickets.created_at_ms, tickets.id
    """,
    Ticket,
)

# One ticket.

EVENTS_OF_SUBMISSIONS = Query(
    f"""
    SELECT {columns_of(Event)} FROM events
    WHERE submission_id IN (:submission_ids) AND submission_id <> ''
    ORDER BY id DESC LIMIT :most
    """,
    Event,
)
DELIVERIES_TO = Query(
    f"""
    SELECT {columns_of(Delivery)} FROM deliveries
    WHERE event_id IN (:event_ids) AND receiver IN (:receivers)
    ORDER BY id
    """,
    Delivery,
)
ATTEMPTS_OF = Query(
    f"SELECT {columns_of(Attempt)} FROM attempts WHERE submission_id IN (:submission_ids) ORDER BY submission_id, number",
    Attempt,
)
COUNT_SHOWING = Query(
    "SELECT count(*) FROM tickets WHERE submission_id = :submission_id AND submission_id <> '' AND id <> :id",
    int,
)

# What each client uses.

# The clients are found with one step in an index for each.
CLIENTS = Query(
    """
    WITH RECURSIVE known (name) AS (
        SELECT min(client) FROM tickets
        UNION ALL
        SELECT (SELECT min(tickets.client) FROM tickets WHERE tickets.client > known.name)
        FROM known WHERE known.name IS NOT NULL
    )
    SELECT name FROM known WHERE name IS NOT NULL
    """,
    str,
)


class OpenCount(NamedTuple):
    """The tickets of a client that have not ended, and those of them that wait for the answer to a window."""

    client: str
    not_ended: int
    windows: int


# Answered by an index of the open tickets alone.
OPEN_BY_CLIENT = Query(
    """
    SELECT client, count(*), count(*) FILTER (WHERE is_window) FROM tickets
    WHERE ended_at_ms IS NULL
    GROUP BY client
    """,
    OpenCount,
)
NEWEST_OF_CLIENT = Query(
    "SELECT created_at_ms FROM tickets WHERE client = :client ORDER BY created_at_ms DESC LIMIT 1", int
)
HOOKS_OF_CLIENT = Query(
    """
    SELECT DISTINCT newest.hook FROM (
        SELECT hook FROM tickets WHERE client = :client ORDER BY created_at_ms DESC LIMIT :looked_at
    ) AS newest
    WHERE newest.hook <> ''
    """,
    str,
)


class HookCount(NamedTuple):
    """The messages to a host in a state, and those of them that failed before."""

    receiver: str
    state: str
    how_many: int
    failed: int


UNTOLD = Query(
    """
    SELECT receiver, state, count(*), count(*) FILTER (WHERE error <> '') FROM deliveries
    WHERE state IN ('waiting', 'running', 'dead') AND receiver LIKE 'hook:%'
    GROUP BY receiver, state
    """,
    HookCount,
)
