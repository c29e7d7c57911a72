"""The statements behind versions: numbers that change whenever what a page shows does."""

from __future__ import annotations

from typing import NamedTuple

from storage.driver.statements import Query


class Version(NamedTuple):
    """Zeros if there are no rows."""

    changed_at_ms: int
    mixed: int
    how_many: int


class ChainVersion(NamedTuple):
    """The version of one of several chains."""

    chain_id: str
    changed_at_ms: int
    mixed: int
    how_many: int


_MIXED = "CAST(coalesce(sum(updated_at_ms % 1000003), 0) AS BIGINT)"
_VERSION = f"coalesce(max(updated_at_ms), 0), {_MIXED}, count(*)"
_OF_CHAINS = f"SELECT chain_id, {_VERSION} FROM {{}} WHERE chain_id IN (:chain_ids) GROUP BY chain_id"
TASKS_OF_CHAINS = Query(_OF_CHAINS.format("tasks"), ChainVersion)
SUBMISSIONS_OF_CHAINS = Query(_OF_CHAINS.format("submissions"), ChainVersion)

# One chain at a time: many people may have chains open, and each is queried again and again.
_OF_CHAIN = f"SELECT {_VERSION} FROM {{}} WHERE chain_id = :chain_id"
TASKS_OF_CHAIN = Query(_OF_CHAIN.format("tasks"), Version)
SUBMISSIONS_OF_CHAIN = Query(_OF_CHAIN.format("submissions"), Version)

# A ticket that joins a submission leaves nothing else behind.
TICKETS_OF_CHAIN = Query(
    """
    SELECT count(*) FROM tickets JOIN submissions ON submissions.id = tickets.submission_id
    WHERE submissions.chain_id = :chain_id AND tickets.submission_id <> ''
    """,
    int,
)


class EventsVersion(NamedTuple):
    """The newest event of a task, and how many events were examined."""

    newest: int
    how_many: int


_NEWEST = """
    (
        SELECT id FROM events
        WHERE upstream = :upstream AND task_id = :task_id
        ORDER BY id DESC LIMIT :most
    ) AS newest
"""
EVENTS_OF_TASK = Query(f"SELECT coalesce(max(newest.id), 0), count(*) FROM {_NEWEST}", EventsVersion)

# A subquery for each event: for a join, PostgreSQL would scan the whole table.
DELIVERIES_OF_TASK = Query(
    f"""
    SELECT CAST(coalesce(sum((
        SELECT sum(1 + deliveries.updated_at_ms % 1000003) FROM deliveries WHERE deliveries.event_id = newest.id
    )), 0) AS BIGINT)
    FROM {_NEWEST}
    """,
    int,
)


class RequestedVersion(NamedTuple):
    """What the submissions requested because of a task add up to, and their number."""

    mixed: int
    how_many: int


REQUESTED_BY_TASK = Query(
    f"SELECT {_MIXED}, count(*) FROM submissions WHERE parent_id = :parent_id AND upstream = :upstream",
    RequestedVersion,
)


class AboutVersion(NamedTuple):
    """The newest event about some submissions, and what their deliveries add up to."""

    newest: int
    mixed: int


OF_SUBMISSIONS = Query(
    """
    SELECT coalesce(max(newest.id), 0), CAST(coalesce(sum((
        SELECT sum(1 + deliveries.updated_at_ms % 1000003) FROM deliveries WHERE deliveries.event_id = newest.id
    )), 0) AS BIGINT)
    FROM (
        SELECT id FROM events
        WHERE submission_id IN (:submission_ids) AND submission_id <> ''
        ORDER BY id DESC LIMIT :most
    ) AS newest
    """,
    AboutVersion,
)
