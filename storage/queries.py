"""Read side for API, pages and command line: keyset pages, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Connection, Select, and_, func, or_, select

from storage import schema
from storage.deliveries import DELIVERY_COLUMNS
from storage.events import EVENT_COLUMNS, event_of
from storage.records import (
    Attempt,
    ChainRow,
    Delivery,
    Event,
    Submission,
    TaskRow,
)
from storage.submissions import SUBMISSION_COLUMNS, of_parent, submission_of

events, tasks, chains = schema.events, schema.tasks, schema.chains

LOOKED_AT = 2000
"""Rows that a question looks at which no index answers."""

NO_FILTER: Mapping[str, object] = {}


def task_page(
    connection: Connection,
    *,
    most: int,
    before: tuple[int, str] | None = None,
    equal: Mapping[str, object] = NO_FILTER,
) -> list[TaskRow]:
    """Tasks by age, newest first; `before` is (created_at_ms, id) of the last one of the page before."""
    query = _by_age(select(tasks), tasks.c.created_at_ms, tasks.c.id, before, most)
    rows = connection.execute(_filtered(query, tasks.c, equal))
    return [TaskRow(**row._mapping) for row in rows]


def chain_page(
    connection: Connection,
    *,
    most: int,
    before: tuple[int, str] | None = None,
    equal: Mapping[str, object] = NO_FILTER,
) -> list[ChainRow]:
    """Chains by age, newest first."""
    query = _by_age(select(chains), chains.c.created_at_ms, chains.c.id, before, most)
    return [ChainRow(**row._mapping) for row in connection.execute(_filtered(query, chains.c, equal))]


def event_page(
    connection: Connection, *, most: int, before: int | None = None, equal: Mapping[str, object] = NO_FILTER
) -> list[Event]:
    """Events by id, newest first; `before` is the last id of the page before."""
    query = _by_id(select(*EVENT_COLUMNS), events.c.id, before, most)
    return [event_of(row) for row in connection.execute(_filtered(query, events.c, equal))]


def submission_page(
    connection: Connection,
    *,
    most: int,
    before: tuple[int, str] | None = None,
    equal: Mapping[str, object] = NO_FILTER,
) -> list[Submission]:
    """Submissions by age, newest first."""
    table = schema.submissions
    query = _by_age(select(*SUBMISSION_COLUMNS), table.c.created_at_ms, table.c.id, before, most)
    return [submission_of(row) for row in connection.execute(_filtered(query, table.c, equal))]


def delivery_page(
    connection: Connection, *, most: int, before: int | None = None, equal: Mapping[str, object] = NO_FILTER
) -> list[Delivery]:
    """Deliveries by id, newest first."""
    table = schema.deliveries
    query = _by_id(select(*DELIVERY_COLUMNS), table.c.id, before, most)
    return [Delivery(**row._mapping) for row in connection.execute(_filtered(query, table.c, equal))]


def failing_deliveries(connection: Connection, *, most: int) -> list[Delivery]:
    """Deliveries that failed and are tried again, the one that waits longest first. They stand behind all that have not
    run yet, since their next attempt is in the future: so many are looked at as there can be of them."""
    table = schema.deliveries
    last = (
        select(*DELIVERY_COLUMNS)
        .where(table.c.state == "waiting")
        .order_by(table.c.run_at_ms.desc(), table.c.id.desc())
        .limit(LOOKED_AT)
        .subquery("last")
    )
    rows = connection.execute(
        select(last).where(last.c.error != "").order_by(last.c.run_at_ms.desc(), last.c.id.desc()).limit(most)
    )
    return [Delivery(**row._mapping) for row in rows]


def find_event(connection: Connection, event_id: int) -> Event | None:
    """One event, or None."""
    row = connection.execute(select(*EVENT_COLUMNS).where(events.c.id == event_id)).first()
    return None if row is None else event_of(row)


def find_delivery(connection: Connection, delivery_id: int) -> Delivery | None:
    """One delivery, or None."""
    row = connection.execute(select(*DELIVERY_COLUMNS).where(schema.deliveries.c.id == delivery_id)).first()
    return None if row is None else Delivery(**row._mapping)


def attempts_of(connection: Connection, submission_id: str) -> list[Attempt]:
    """The tries of a submission, first to last."""
    table = schema.attempts
    rows = connection.execute(
        select(table).where(table.c.submission_id == submission_id).order_by(table.c.number)
    )
    return [Attempt(**row._mapping) for row in rows]


def tasks_of_chain(connection: Connection, chain_id: str) -> list[TaskRow]:
    """All tasks of a chain, oldest first."""
    rows = connection.execute(
        select(tasks).where(tasks.c.chain_id == chain_id).order_by(tasks.c.created_at_ms, tasks.c.id)
    )
    return [TaskRow(**row._mapping) for row in rows]


def submissions_of_chain(connection: Connection, chain_id: str) -> list[Submission]:
    """All submissions of a chain, oldest first."""
    table = schema.submissions
    rows = connection.execute(
        select(*SUBMISSION_COLUMNS)
        .where(table.c.chain_id == chain_id)
        .order_by(table.c.created_at_ms, table.c.label, table.c.id)
    )
    return [submission_of(row) for row in rows]


def submissions_of_parent(
    connection: Connection, upstream: str, parent_id: str, *, most: int
) -> list[Submission]:
    """What was asked for because of a task, newest first."""
    query = select(*SUBMISSION_COLUMNS).where(of_parent(upstream, parent_id))
    query = query.order_by(schema.submissions.c.created_at_ms.desc(), schema.submissions.c.id.desc())
    return [submission_of(row) for row in connection.execute(query.limit(most))]


def was_any_accepted(connection: Connection) -> bool:
    """Whether an upstream ever took a submission."""
    table = schema.submissions
    return (
        connection.execute(select(table.c.id).where(table.c.state == "accepted").limit(1)).first() is not None
    )


def latest_payloads(connection: Connection, rows: Sequence[TaskRow]) -> dict[tuple[str, str], bytes]:
    """The newest payload of each task that ever sent one, by (upstream, id)."""
    found: dict[tuple[str, str], bytes] = {}
    for upstream in {row.upstream for row in rows}:
        ids = [row.id for row in rows if row.upstream == upstream]
        newest = (
            select(func.max(events.c.id))
            .where(events.c.upstream == upstream, events.c.task_id.in_(ids), events.c.advanced)
            .group_by(events.c.task_id)
        )
        for row in connection.execute(
            select(events.c.task_id, events.c.payload).where(events.c.id.in_(newest))
        ):
            found[upstream, row.task_id] = row.payload
    return found


def upstreams_of_task(connection: Connection, task_id: str) -> list[str]:
    """Names of the upstreams that have a task of this id."""
    return list(connection.execute(select(tasks.c.upstream).where(tasks.c.id == task_id)).scalars())


COUNTED = 100_000
"""Of the deliveries that are done, the newest: so many are counted while somebody waits for the page."""


def deliveries_by_receiver(connection: Connection) -> dict[str, dict[str, int]]:
    """For each receiver: deliveries by state, those that failed and are tried again, and how often it fired.

    What waits, runs or is dead is counted whole; done and fired among the newest `COUNTED` of all deliveries.
    """
    table = schema.deliveries
    newest = select(func.max(table.c.id)).scalar_subquery()
    done = (
        select(
            table.c.receiver, func.count().label("done"), func.count().filter(table.c.fired).label("fired")
        )
        .where(table.c.id > newest - COUNTED, table.c.state + "" == "done")  # not by the index of states
        .group_by(table.c.receiver)
    )
    others = (
        select(
            table.c.receiver,
            table.c.state,
            func.count().label("how_many"),
            func.count().filter(table.c.error != "").label("failed"),
        )
        .where(table.c.state.in_(("waiting", "running", "dead")))
        .group_by(table.c.receiver, table.c.state)
    )
    found = {row.receiver: {"done": row.done, "fired": row.fired} for row in connection.execute(done)}
    for row in connection.execute(others):
        one = found.setdefault(row.receiver, {})
        one[row.state] = row.how_many
        if row.state != "dead":
            one["failing"] = one.get("failing", 0) + row.failed
    return found


def _by_age(
    query: Select[Any], age: Column[int], key: Column[str], before: tuple[int, str] | None, most: int
) -> Select[Any]:
    if before is not None:
        query = query.where(or_(age < before[0], and_(age == before[0], key < before[1])))
    return query.order_by(age.desc(), key.desc()).limit(most)


def _by_id(query: Select[Any], key: Column[int], before: int | None, most: int) -> Select[Any]:
    if before is not None:
        query = query.where(key < before)
    return query.order_by(key.desc()).limit(most)


def _filtered(query: Select[Any], columns: Any, equal: Mapping[str, object]) -> Select[Any]:
    for name, value in equal.items():
        query = query.where(columns[name] == value)
    return query
