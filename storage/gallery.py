"""What people look at: chains with their pictures, newest first, among them tasks that have no chain yet.

A page looks at no more than `LOOKED_AT` rows, however rare what is asked for is: where it found too few, the next one
goes on from there. So every page is quick, whatever the size of the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    union_all,
)

from storage import queries, schema
from storage.cards import FAILED_TASK, TROUBLED, WAITING, Card, Found, Head, Place, Wanted
from storage.prepared import Prepared
from storage.records import ChainRow, Submission, TaskRow
from storage.submissions import SUBMISSION_COLUMNS, submission_of
from storage.wording import has_part

tasks, chains, submissions = schema.tasks, schema.chains, schema.submissions

LOOKED_AT = 3000
"""Rows of each kind that one page looks at."""

_WEIGHTS = {"done": 0, "failed": 1, "active": 2, "attention": 3}


def page(connection: Connection, wanted: Wanted, *, most: int, before: Place | None = None) -> Found:
    """Up to `most` cards that are wanted, newest first, with all that is on them."""
    found, after = _found(connection, wanted, most, before)
    return Found(cards=cards(connection, found), next=after)


def heads(connection: Connection, wanted: Wanted, *, most: int) -> list[Head]:
    """The newest that are wanted."""
    return _found(connection, wanted, most, None)[0]


def _found(
    connection: Connection, wanted: Wanted, most: int, before: Place | None
) -> tuple[list[Head], Place | None]:
    found, ends = _chains(connection, wanted, most, before)
    if not wanted.asked_by:
        loose, end = _loose_tasks(connection, wanted, most, before)
        found, ends = sorted([*found, *loose], key=lambda one: one.place, reverse=True), [*ends, *end]
    looked_to = max(ends, default=None)  # what is older was not looked at by both
    entries = [one for one in found if looked_to is None or one.place >= looked_to][:most]
    return entries, entries[-1].place if len(entries) == most else looked_to


def card(connection: Connection, chain_id: str) -> Card | None:
    """One chain's, or None."""
    row = connection.execute(select(chains).where(chains.c.id == chain_id)).first()
    if row is None:
        return None
    chain = ChainRow(**row._mapping)
    return cards(connection, [Head(chain=chain)])[0]


def marks(connection: Connection, heads: Sequence[Head]) -> dict[str, tuple[int, ...]]:
    """For each a mark that changes with anything on its card: its age, times of the last changes, and counts."""
    ids = [one.chain.id for one in heads if one.chain is not None]
    found: dict[str, tuple[int, ...]] = {
        one.id: (one.place[0], one.task.updated_at_ms) if one.task is not None else (one.place[0],)
        for one in heads
    }
    for table in (tasks, submissions) if ids else ():
        asked = (
            select(
                table.c.chain_id,
                func.max(table.c.updated_at_ms).label("changed"),
                func.sum(table.c.updated_at_ms % 1_000_003).label("mixed"),
                func.count().label("how_many"),
            )
            .where(table.c.chain_id.in_(ids))
            .group_by(table.c.chain_id)
        )
        for row in connection.execute(asked):
            found[row.chain_id] += (int(row.changed), int(row.mixed), int(row.how_many))
    return found


# One by one, and compiled once: a process may have as many chains open as people, and asks for each again and again.
_marks_of = [
    Prepared(
        select(
            func.max(table.c.updated_at_ms), func.sum(table.c.updated_at_ms % 1_000_003), func.count()
        ).where(table.c.chain_id == bindparam("of_chain"))
    )
    for table in (tasks, submissions)
]


def marks_of(connection: Connection, chain_id: str) -> tuple[int, ...]:
    """The mark of one chain; of one that is not there, all zeros."""
    found = [value for one in _marks_of for value in one(connection, of_chain=chain_id).one()]
    return tuple(int(value or 0) for value in found)


def _chains(
    connection: Connection, wanted: Wanted, most: int, before: Place | None
) -> tuple[list[Head], list[Place]]:
    window = _window(select(chains), chains.c.created_at_ms, chains.c.id, wanted, before)
    looked = window.limit(LOOKED_AT).subquery("looked")
    conditions = _conditions(wanted, looked) + _status_of_chain(wanted.status, looked)
    if wanted.asked_by:
        by = and_(submissions.c.chain_id == looked.c.id, submissions.c.asked_by == wanted.asked_by)
        # EXISTS would let PostgreSQL read the whole table once, to have them all.
        conditions.append(select(func.count()).where(by).scalar_subquery() > 0)
    asked = _newest(select(looked).where(*conditions), looked, most)
    found = [ChainRow(**row._mapping) for row in connection.execute(asked)]
    return [Head(chain=one) for one in found], _end(connection, window)


def _loose_tasks(
    connection: Connection, wanted: Wanted, most: int, before: Place | None
) -> tuple[list[Head], list[Place]]:
    """Tasks that nobody has asked for the chain of: those of other clients, which no rule listens to."""
    window = _window(select(tasks), tasks.c.created_at_ms, tasks.c.id, wanted, before)
    window = window.where(tasks.c.chain_id.is_(None))
    looked = window.limit(LOOKED_AT).subquery("looked")
    asked = _newest(
        select(looked).where(*_conditions(wanted, looked), *_status_of_task(wanted.status, looked)),
        looked,
        most,
    )
    found = [TaskRow(**row._mapping) for row in connection.execute(asked)]
    return [Head(task=one) for one in found], _end(connection, window)


def _window(
    query: Select[Any],
    age: ColumnElement[int],
    key: ColumnElement[str],
    wanted: Wanted,
    before: Place | None,
) -> Select[Any]:
    if before is not None:
        query = query.where(age <= before[0], or_(age < before[0], key < before[1]))
    if wanted.since_ms:
        query = query.where(age >= wanted.since_ms)
    if wanted.until_ms:
        query = query.where(age < wanted.until_ms)
    return query.order_by(age.desc(), key.desc())


def _newest(query: Select[Any], looked: FromClause, most: int) -> Select[Any]:
    return query.order_by(looked.c.created_at_ms.desc(), looked.c.id.desc()).limit(most)


def _end(connection: Connection, window: Select[Any]) -> list[Place]:
    """The last row that was looked at, where there are older ones."""
    row = connection.execute(window.limit(1).offset(LOOKED_AT - 1)).first()
    return [] if row is None else [(row.created_at_ms, row.id)]


def _conditions(wanted: Wanted, looked: FromClause) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.upstream:
        conditions.append(looked.c.upstream == wanted.upstream)
    if wanted.text:
        conditions.append(has_part(looked.c.prompt, wanted.text))
    return conditions


def _status_of_chain(status: str, looked: FromClause) -> list[ColumnElement[bool]]:
    """The worst of its tasks and submissions tells, as in `Card.status`."""
    if not status:
        return []
    of_task = case(
        (tasks.c.status == "MODAL", 3),
        (tasks.c.finished_at_ms.is_(None), 2),
        (tasks.c.status.in_(FAILED_TASK), 1),
        else_=0,
    )
    of_submission = case(
        (submissions.c.state.in_(TROUBLED), 3),
        (submissions.c.state.in_(WAITING), 2),
        (submissions.c.state == "rejected", 1),
        else_=0,
    )
    each = union_all(
        select(of_task.label("weight")).where(tasks.c.chain_id == looked.c.id).correlate(looked),
        select(of_submission).where(submissions.c.chain_id == looked.c.id).correlate(looked),
    ).subquery("each")
    worst = func.coalesce(select(func.max(each.c.weight)).scalar_subquery(), 0)
    return [worst == _WEIGHTS[status]]


def _status_of_task(status: str, looked: FromClause) -> list[ColumnElement[bool]]:
    match status:
        case "attention":
            return [looked.c.status == "MODAL"]
        case "active":
            return [looked.c.finished_at_ms.is_(None), looked.c.status != "MODAL"]
        case "failed":
            return [looked.c.status.in_(FAILED_TASK)]
        case "done":
            return [looked.c.finished_at_ms.is_not(None), looked.c.status.not_in(FAILED_TASK)]
        case _:
            return []


def cards(connection: Connection, heads: Sequence[Head]) -> list[Card]:
    """All that is on the cards, in their order."""
    ids = [one.chain.id for one in heads if one.chain is not None]
    of_chain: dict[str, list[TaskRow]] = {one: [] for one in ids}
    made: dict[str, list[Submission]] = {one: [] for one in ids}
    if ids:
        asked = select(tasks).where(tasks.c.chain_id.in_(ids)).order_by(tasks.c.created_at_ms, tasks.c.id)
        for row in connection.execute(asked):
            of_chain[row.chain_id].append(TaskRow(**row._mapping))
        wanted = select(*SUBMISSION_COLUMNS).where(submissions.c.chain_id.in_(ids))
        for row in connection.execute(wanted.order_by(submissions.c.created_at_ms, submissions.c.label)):
            made[row.chain_id].append(submission_of(row))
    return [
        Card(chain=one.chain, tasks=tuple(of_chain[one.chain.id]), submissions=tuple(made[one.chain.id]))
        if one.chain is not None
        else Card(chain=None, tasks=(one.task,) if one.task is not None else ())
        for one in heads
    ]


def payloads(connection: Connection, cards: Sequence[Card]) -> dict[tuple[str, str], bytes]:
    """The newest payloads of all tasks of some cards, by (upstream, id)."""
    return queries.latest_payloads(connection, [task for one in cards for task in one.tasks])
