"""Keyset pages, newest first, and lookups for API, pages and command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, and_, text

from storage import schema
from storage.events import event_log
from storage.reading import keyset, sql, sql_figures
from storage.reading.keyset import Listing, Page, equals
from storage.records import Attempt, ChainRow, Delivery, Event, Submission, TaskRow

events, tasks, chains = schema.events, schema.tasks, schema.chains

LOOKED_AT = 2000
"""Deliveries that are examined at most to find those that failed."""

NO_FILTER: Mapping[str, object] = {}

_MOST_SUBMISSIONS_ARE = ("accepted", "existed", "rejected")
_MOST_DELIVERIES_ARE = ("done",)


_TASKS = Listing(
    table=tasks,
    record=TaskRow,
    order=[tasks.c.created_at_ms, tasks.c.id],
    indexed={"chain_id": equals(tasks.c.chain_id)},
)
_CHAINS = Listing(
    table=chains,
    record=ChainRow,
    order=[chains.c.created_at_ms, chains.c.id],
)
_EVENTS = Listing(
    table=events,
    record=Event,
    order=[events.c.id],
    indexed={
        "task_id": equals(events.c.task_id),
        # With the condition of the partial index, so that it is used.
        "submission_id": lambda value: and_(
            events.c.submission_id == value, text("events.submission_id <> ''")
        ),
    },
)
_SUBMISSIONS = Listing(
    table=schema.submissions,
    record=Submission,
    order=[schema.submissions.c.created_at_ms, schema.submissions.c.id],
    indexed={
        "chain_id": equals(schema.submissions.c.chain_id),
        "parent_id": equals(schema.submissions.c.parent_id),
        "state": equals(schema.submissions.c.state, but=_MOST_SUBMISSIONS_ARE),
        "upstream": equals(schema.submissions.c.upstream),
    },
)
_DELIVERIES = Listing(
    table=schema.deliveries,
    record=Delivery,
    order=[schema.deliveries.c.id],
    indexed={
        "event_id": equals(schema.deliveries.c.event_id),
        "state": equals(schema.deliveries.c.state, but=_MOST_DELIVERIES_ARE),
    },
)


def task_page(
    connection: Connection,
    *,
    most: int,
    before: tuple[int, str] | None = None,
    equal: Mapping[str, object] = NO_FILTER,
) -> Page[TaskRow]:
    """Tasks by age, newest first; `before` is (created_at_ms, id) of the last task of the previous page."""
    return keyset.read(connection, _TASKS, most, before, equal)


def chain_page(
    connection: Connection,
    *,
    most: int,
    before: tuple[int, str] | None = None,
    equal: Mapping[str, object] = NO_FILTER,
) -> Page[ChainRow]:
    """Chains by age, newest first."""
    return keyset.read(connection, _CHAINS, most, before, equal)


def event_page(
    connection: Connection, *, most: int, before: int | None = None, equal: Mapping[str, object] = NO_FILTER
) -> Page[Event]:
    """Events by id, newest first; `before` is the last id of the previous page."""
    return keyset.read(connection, _EVENTS, most, None if before is None else (before,), equal)


def submission_page(
    connection: Connection,
    *,
    most: int,
    before: tuple[int, str] | None = None,
    equal: Mapping[str, object] = NO_FILTER,
) -> Page[Submission]:
    """Submissions by age, newest first."""
    return keyset.read(connection, _SUBMISSIONS, most, before, equal)


def delivery_page(
    connection: Connection, *, most: int, before: int | None = None, equal: Mapping[str, object] = NO_FILTER
) -> Page[Delivery]:
    """Deliveries by id, newest first."""
    return keyset.read(connection, _DELIVERIES, most, None if before is None else (before,), equal)


def failing_deliveries(connection: Connection, *, most: int) -> list[Delivery]:
    """Deliveries that failed and will be tried again, the one with the longest wait first.

    Their next attempt is in the future, so that they are sorted behind all deliveries that have not run yet; the last `LOOKED_AT`
    waiting deliveries are examined.
    """
    return sql.FAILING_DELIVERIES.all(connection, looked_at=LOOKED_AT, most=most)


def find_event(connection: Connection, event_id: int) -> Event | None:
    """One event, or None."""
    return sql.EVENT.first(connection, id=event_id)


def find_delivery(connection: Connection, delivery_id: int) -> Delivery | None:
    """One delivery, or None."""
    return sql.DELIVERY.first(connection, id=delivery_id)


def deliveries_of(connection: Connection, events: Sequence[Event]) -> list[Delivery]:
    """The deliveries of these events, in their order."""
    return sql.DELIVERIES_OF_EVENTS.all(connection, event_ids=[event.id for event in events])


def attempts_of(connection: Connection, submission_id: str) -> list[Attempt]:
    """The attempts of a submission, in order."""
    return sql.ATTEMPTS.all(connection, submission_id=submission_id)


def tasks_of_chain(connection: Connection, chain_id: str) -> list[TaskRow]:
    """All tasks of a chain, oldest first."""
    return sql.TASKS_OF_CHAINS.all(connection, chain_ids=[chain_id])


def submissions_of_chain(connection: Connection, chain_id: str) -> list[Submission]:
    """All submissions of a chain, oldest first."""
    return sql.SUBMISSIONS_OF_CHAINS.all(connection, chain_ids=[chain_id])


def submissions_of_parent(
    connection: Connection, upstream: str, parent_id: str, *, most: int
) -> list[Submission]:
    """The submissions requested because of a task, newest first."""
    return sql.NEWEST_OF_PARENT.all(connection, upstream=upstream, parent_id=parent_id, most=most)


def was_any_accepted(connection: Connection) -> bool:
    """True if an upstream has ever accepted a submission."""
    return sql.ANY_ACCEPTED.first(connection) is not None


def latest_payloads(connection: Connection, rows: Sequence[TaskRow]) -> dict[tuple[str, str], bytes]:
    """The newest payload of each task that has one, by (upstream, id)."""
    payloads: dict[tuple[str, str], bytes] = {}
    for upstream in {row.upstream for row in rows}:
        ids = [row.id for row in rows if row.upstream == upstream]
        for task_id, payload in event_log.newest_payloads(connection, upstream, ids).items():
            payloads[upstream, task_id] = payload
    return payloads


def upstreams_of_task(connection: Connection, task_id: str) -> list[str]:
    """Names of the upstreams that have a task with this id or alias."""
    return sql.UPSTREAMS_OF_TASK.all(connection, task_id=task_id)


COUNTED = 100_000
"""Deliveries in the state "done" are counted among this many newest ones only, because a person waits for the page."""


def deliveries_by_receiver(connection: Connection) -> dict[str, dict[str, int]]:
    """For each receiver: the number of deliveries by state, of those that failed and will be tried again, and of firings.

    All waiting, running and dead deliveries are counted; done and fired ones only among the newest `COUNTED` deliveries.
    """
    done = sql_figures.DONE_BY_RECEIVER.all(connection, counted=COUNTED)
    counts = {row.receiver: {"done": row.done, "fired": row.fired} for row in done}
    for row in sql_figures.UNDONE_BY_RECEIVER.all(connection):
        of_receiver = counts.setdefault(row.receiver, {})
        of_receiver[row.state] = row.how_many
        if row.state != "dead":
            of_receiver["failing"] = of_receiver.get("failing", 0) + row.failed
    return counts
