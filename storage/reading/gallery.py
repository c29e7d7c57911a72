"""The gallery: chains and tasks without a chain, newest first.

A page examines at most `LOOKED_AT` rows, however few of them match: a page with too few cards is short, and the next one continues
from there. So every page is fast, whatever the size of the database.
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
    case,
    func,
    select,
    tuple_,
    union_all,
)

from storage import schema
from storage.driver.decoder import decoder_of
from storage.driver.text_match import has_part
from storage.reading import pages, sql, sql_versions
from storage.reading.cards import FAILED_TASK, TROUBLED, WAITING, Card, CardCursor, CardFilter, CardPage, Head
from storage.reading.columns import columns_in
from storage.records import ChainRow, Submission, TaskRow
from storage.tasks.chains import find as find_chain

tasks, chains, submissions = schema.tasks, schema.chains, schema.submissions

LOOKED_AT = 3000
"""Rows of each kind that one page examines at most."""

_chain_of, _task_of = decoder_of(ChainRow), decoder_of(TaskRow)

_WEIGHTS = {"done": 0, "failed": 1, "active": 2, "attention": 3}


def page(
    connection: Connection, wanted: CardFilter, *, most: int, before: CardCursor | None = None
) -> CardPage:
    """A page of up to `most` matching cards, newest first."""
    matching, after = _matching(connection, wanted, most, before)
    return CardPage(cards=cards(connection, matching), next=after)


def heads(connection: Connection, wanted: CardFilter, *, most: int) -> list[Head]:
    """The heads of the newest matching cards."""
    return _matching(connection, wanted, most, None)[0]


def _matching(
    connection: Connection, wanted: CardFilter, most: int, before: CardCursor | None
) -> tuple[list[Head], CardCursor | None]:
    found, ends = _chains(connection, wanted, most, before)
    if not wanted.asked_by:
        loose, end = _loose_tasks(connection, wanted, most, before)
        found, ends = sorted([*found, *loose], key=lambda head: head.place, reverse=True), [*ends, *end]
    looked_to = max(ends, default=None)  # older rows were not examined by both queries
    entries = [head for head in found if looked_to is None or head.place >= looked_to][:most]
    return entries, entries[-1].place if len(entries) == most else looked_to


def card(connection: Connection, chain_id: str) -> Card | None:
    """The card of one chain, or None."""
    chain = find_chain(connection, chain_id)
    return None if chain is None else cards(connection, [Head(chain=chain)])[0]


def versions(connection: Connection, heads: Sequence[Head]) -> dict[str, tuple[int, ...]]:
    """For each card, by id, numbers that change whenever the card does: its age, times of the last changes, and counts."""
    ids = [head.chain.id for head in heads if head.chain is not None]
    numbers: dict[str, tuple[int, ...]] = {
        head.id: (head.place[0], head.task.updated_at_ms) if head.task is not None else (head.place[0],)
        for head in heads
    }
    for query in (sql_versions.TASKS_OF_CHAINS, sql_versions.SUBMISSIONS_OF_CHAINS) if ids else ():
        for row in query.all(connection, chain_ids=ids):
            numbers[row.chain_id] += (row.changed_at_ms, row.mixed, row.how_many)
    return numbers


def version_of(connection: Connection, chain_id: str) -> tuple[int, ...]:
    """The version numbers of one chain, and the number of its tickets; all zeros if there is no such chain."""
    return (
        *sql_versions.TASKS_OF_CHAIN.one(connection, chain_id=chain_id),
        *sql_versions.SUBMISSIONS_OF_CHAIN.one(connection, chain_id=chain_id),
        sql_versions.TICKETS_OF_CHAIN.one(connection, chain_id=chain_id),
    )


def _chains(
    connection: Connection, wanted: CardFilter, most: int, before: CardCursor | None
) -> tuple[list[Head], list[CardCursor]]:
    window = _window(
        select(*columns_in(chains, ChainRow)), chains.c.created_at_ms, chains.c.id, wanted, before
    )
    looked = window.limit(LOOKED_AT).subquery("looked")
    conditions = _conditions(wanted, looked) + _status_of_chain(wanted.status, looked)
    if wanted.asked_by:
        by = and_(submissions.c.chain_id == looked.c.id, submissions.c.asked_by == wanted.asked_by)
        # A count, because for EXISTS PostgreSQL might scan the whole table.
        conditions.append(select(func.count()).where(by).scalar_subquery() > 0)
    query = _newest(select(looked).where(*conditions), looked, most)
    rows = [_chain_of(row) for row in connection.execute(query)]
    return [Head(chain=chain) for chain in rows], _end(connection, window) if len(rows) < most else []


def _loose_tasks(
    connection: Connection, wanted: CardFilter, most: int, before: CardCursor | None
) -> tuple[list[Head], list[CardCursor]]:
    """Tasks without a chain: those of other clients, which have no receivers."""
    window = _window(select(*columns_in(tasks, TaskRow)), tasks.c.created_at_ms, tasks.c.id, wanted, before)
    window = window.where(tasks.c.chain_id.is_(None))
    looked = window.limit(LOOKED_AT).subquery("looked")
    query = _newest(
        select(looked).where(*_conditions(wanted, looked), *_status_of_task(wanted.status, looked)),
        looked,
        most,
    )
    rows = [_task_of(row) for row in connection.execute(query)]
    return [Head(task=task) for task in rows], _end(connection, window) if len(rows) < most else []


def _window(
    query: Select[Any],
    age: ColumnElement[int],
    key: ColumnElement[str],
    wanted: CardFilter,
    before: CardCursor | None,
) -> Select[Any]:
    if before is not None:
        query = query.where(tuple_(age, key) < before)
    if wanted.since_ms:
        query = query.where(age >= wanted.since_ms)
    if wanted.until_ms:
        query = query.where(age < wanted.until_ms)
    return query.order_by(age.desc(), key.desc())


def _newest(query: Select[Any], looked: FromClause, most: int) -> Select[Any]:
    return query.order_by(looked.c.created_at_ms.desc(), looked.c.id.desc()).limit(most)


def _end(connection: Connection, window: Select[Any]) -> list[CardCursor]:
    """The place of the last row that was examined, if the limit was reached."""
    row = connection.execute(window.limit(1).offset(LOOKED_AT - 1)).first()
    return [] if row is None else [(row.created_at_ms, row.id)]


def _conditions(wanted: CardFilter, looked: FromClause) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.upstream:
        conditions.append(looked.c.upstream == wanted.upstream)
    if wanted.text:
        conditions.append(has_part(looked.c.prompt, wanted.text))
    return conditions


def _status_of_chain(status: str, looked: FromClause) -> list[ColumnElement[bool]]:
    """The condition that a chain has this status, which the worst of its tasks and submissions decides, as in `Card.status`."""
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
    """The cards of these heads, in the same order."""
    ids = [head.chain.id for head in heads if head.chain is not None]
    of_chain: dict[str, list[TaskRow]] = {chain_id: [] for chain_id in ids}
    made: dict[str, list[Submission]] = {chain_id: [] for chain_id in ids}
    if ids:
        for task in sql.TASKS_OF_CHAINS.all(connection, chain_ids=ids):
            of_chain[task.chain_id or ""].append(task)
        for submission in sql.SUBMISSIONS_OF_CHAINS.all(connection, chain_ids=ids):
            made[submission.chain_id].append(submission)
    return [
        Card(chain=head.chain, tasks=tuple(of_chain[head.chain.id]), submissions=tuple(made[head.chain.id]))
        if head.chain is not None
        else Card(chain=None, tasks=(head.task,) if head.task is not None else ())
        for head in heads
    ]


def payloads(connection: Connection, cards: Sequence[Card]) -> dict[tuple[str, str], bytes]:
    """The newest payloads of all tasks of these cards, by (upstream, id)."""
    return pages.latest_payloads(connection, [task for card in cards for task in card.tasks])
