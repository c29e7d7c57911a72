"""One transaction of the pruner reads a bounded number of rows, in a database of 200,000 and in a chain of any size."""

from __future__ import annotations

import pytest
from sqlalchemy import CTE, Connection, func, insert, literal, select, update

from dispatcher.loops.prune import CHAINS_PER_BATCH, ROWS_PER_BATCH
from storage import ended_chains, pruning, schema
from storage.events import quarantine
from storage.pruning import Cursor
from tests.support.many_rows import LOOPED_EVENTS, LOOPED_TASK, NOW_MS
from tests.support.plans import recorded

pytestmark = pytest.mark.xdist_group("many_rows")

A_BITE = 8 * ROWS_PER_BATCH
"""Rows that a transaction may read: those that it looks at, their tasks and deliveries, and all again to delete them."""

LARGEST_STATEMENT = {"sqlite": 32_766, "postgresql": 65_535}
"""Parameters that a statement can have."""

events, tasks, chains = schema.events, schema.tasks, schema.chains


def count(connection: Connection, *where: object) -> int:
    found: int = connection.execute(select(func.count()).select_from(events).where(*where)).scalar_one()  # type: ignore[arg-type]  # conditions
    return found


def chain_of(connection: Connection, task_id: str) -> str:
    found: str = connection.execute(select(tasks.c.chain_id).where(tasks.c.id == task_id)).scalar_one()
    return found


def numbered(most: int) -> CTE:
    """Rows from 1 to so many."""
    numbers = select(literal(1).label("number")).cte("numbers", recursive=True)
    return numbers.union_all(select(numbers.c.number + 1).where(numbers.c.number < most))


def grow(connection: Connection, task_id: str, most: int) -> None:
    """Let the task's sender send it so many times."""
    numbers = numbered(most)
    columns = [column for column in events.c if column is not events.c.id]
    one = select(*columns).where(events.c.task_id == task_id).limit(1).subquery()
    connection.execute(
        insert(events).from_select(columns, select(*one.c).join_from(one, numbers, literal(value=True)))
    )


def drop_whole(connection: Connection, chain_id: str, a_bite: int = ROWS_PER_BATCH) -> int:
    """Drop a chain in bites; how many those were."""
    left, bites = [chain_id], 0
    while left:
        left, _ = ended_chains.drop(connection, left, NOW_MS, a_bite)
        bites += 1
    return bites


@pytest.mark.parametrize("before_ms", [0, NOW_MS])
def test_progress_is_thinned_in_bites(large: Connection, before_ms: int) -> None:
    """Where all events are old enough, and where none is: then no more of them are looked at than in a bite."""
    with recorded(large) as plans:
        pruning.thin(large, 0, before_ms, ROWS_PER_BATCH)
    assert sum(plan.rows_read for plan in plans) <= A_BITE


def test_chains_go_in_bites(large: Connection) -> None:
    """However many have ended."""
    following, ended = ended_chains.find(large, Cursor(), NOW_MS, CHAINS_PER_BATCH)
    assert following is not None
    assert len(ended) > CHAINS_PER_BATCH // 3
    with recorded(large) as plans:
        left, gone = ended_chains.drop(large, ended, NOW_MS, ROWS_PER_BATCH)
    assert gone == len(ended) - len(left) > 0
    assert sum(plan.rows_read for plan in plans) <= A_BITE


def test_a_chain_larger_than_a_bite_goes_piece_by_piece(large: Connection) -> None:
    """Its row goes last, so that the next pass finds what an ended process has left of it."""
    chain_id = chain_of(large, LOOPED_TASK)
    of_task = events.c.task_id == LOOPED_TASK
    before = count(large, of_task)
    assert before > LOOPED_EVENTS
    with recorded(large) as plans:
        left, gone = ended_chains.drop(large, [chain_id], NOW_MS, ROWS_PER_BATCH)
    assert (left, gone) == ([chain_id], 0)
    assert before - 2 * ROWS_PER_BATCH <= count(large, of_task) < before
    assert sum(plan.rows_read for plan in plans) <= A_BITE
    assert drop_whole(large, chain_id) > LOOPED_EVENTS // ROWS_PER_BATCH - 3
    assert count(large, of_task) == 0
    assert large.execute(select(chains.c.id).where(chains.c.id == chain_id)).first() is None


def test_a_chain_with_more_events_than_a_statement_has_parameters_goes(large: Connection) -> None:
    """It stayed for ever, and each pass failed on it. In large bites here: PostgreSQL reads over what its own transaction deleted."""
    grow(large, LOOPED_TASK, LARGEST_STATEMENT[large.dialect.name])
    chain_id = chain_of(large, LOOPED_TASK)
    _, ended = ended_chains.find(large, Cursor(), NOW_MS, CHAINS_PER_BATCH)
    assert chain_id in ended
    drop_whole(large, chain_id, 20 * ROWS_PER_BATCH)
    assert count(large, events.c.task_id == LOOPED_TASK) == 0


def test_a_task_without_a_chain_goes_in_bites_too(large: Connection) -> None:
    """And those that are older but still called about are not looked at again in the same pass."""
    loose = "t1000010"
    grow(large, loose, 3 * ROWS_PER_BATCH)
    large.execute(
        update(tasks).where(tasks.c.chain_id.is_(None), tasks.c.id > loose).values(updated_at_ms=NOW_MS)
    )
    cursor: Cursor | None = Cursor()
    bites = 0
    while cursor is not None and bites < 20:
        with recorded(large) as plans:
            cursor, _ = pruning.drop_tasks(large, cursor, NOW_MS, ROWS_PER_BATCH)
        assert sum(plan.rows_read for plan in plans) <= A_BITE
        bites += 1
    assert count(large, events.c.task_id == loose) == 0
    assert 4 < bites < 20


def test_a_flooded_quarantine_is_trimmed_in_bites(large: Connection) -> None:
    """Strangers have sent ten times as much as is kept."""
    kept, numbers = 1000, numbered(10_000)
    table = schema.quarantine
    columns = ["upstream", "submission_id", "content_type", "reason", "body", "received_at_ms"]
    entry = [literal(value) for value in ("main", "", "", "no JSON", b"?", NOW_MS)]
    large.execute(insert(table).from_select(columns, select(*entry).select_from(numbers)))
    with recorded(large) as plans:
        gone = quarantine.trim(large, most_rows=kept, most_bytes=0, most=ROWS_PER_BATCH)
    assert gone == ROWS_PER_BATCH
    assert sum(plan.rows_read for plan in plans) <= 2 * (kept + ROWS_PER_BATCH)


def test_a_chain_in_which_something_has_happened_since_stays_whole(large: Connection) -> None:
    """The callback came after a reader had found that the chain had ended."""
    _, (chain_id, *_) = ended_chains.find(large, Cursor(), NOW_MS, CHAINS_PER_BATCH)
    large.execute(update(tasks).where(tasks.c.chain_id == chain_id).values(updated_at_ms=NOW_MS))
    before = count(large)
    assert ended_chains.drop(large, [chain_id], NOW_MS, ROWS_PER_BATCH) == ([], 0)
    assert count(large) == before
