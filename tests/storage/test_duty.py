"""The protocol of durable work under any interleaving of workers, deaths and people: the same promises for both tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine, delete, event, select

from storage import schema
from storage.deliveries import dead_deliveries
from storage.duty import protocol
from storage.engine import write_engine
from storage.errors import LeaseLost
from storage.submissions import dead_submissions, submission_queue
from tests.support import duties
from tests.support.duties import Deliveries, Submissions

WORKERS = ["anna", "ben"]
KINDS: list[Any] = [Deliveries, Submissions]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An empty database."""
    made = write_engine(database_url)
    yield made
    made.dispose()


class Protocol(RuleBasedStateMachine):
    """A model of who holds what. All of a run is one transaction, which is rolled back."""

    def __init__(self, engine: Engine, kind: Any) -> None:
        super().__init__()
        self.connection = engine.connect()
        self.transaction = self.connection.begin()
        self.rows = kind(self.connection)
        self.states = kind.duty.states
        self.state: dict[Any, str] = {}
        self.attempts: dict[Any, int] = {}
        self.tries: dict[Any, int] = {}
        self.holds: dict[str, list[Any]] = {name: [] for name in WORKERS}
        self.late: list[Any] = []
        self.ended: set[Any] = set()
        for name in WORKERS:
            duties.lives(self.connection, name)

    def teardown(self) -> None:
        self.transaction.rollback()
        self.connection.close()

    def ids_in(self, *states: str) -> list[Any]:
        return [id_ for id_, state in self.state.items() if state in states]

    @rule()
    def add(self) -> None:
        id_ = self.rows.add()
        self.state[id_], self.attempts[id_], self.tries[id_] = self.states.waiting, 0, 0

    @rule(worker=st.sampled_from(WORKERS), most=st.integers(1, 3))
    def claim(self, worker: str, most: int) -> None:
        """A worker takes what waits, and nothing that another has. It counts."""
        taken = self.rows.claim(worker, most)
        assert len(taken) == min(most, len(self.ids_in(self.states.waiting)))
        for one in taken:
            held = self.rows.held(one)
            assert self.state[held.id] == self.states.waiting
            assert held.attempt == self.attempts[held.id] + 1
            self.state[held.id], self.attempts[held.id] = self.states.running, held.attempt
            self.tries[held.id] += 1
            self.holds[worker].append(one)

    @precondition(lambda self: any(self.holds.values()))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """Who holds an attempt ends it, once: in every way, the second word of it is refused."""
        worker = data.draw(st.sampled_from([name for name in WORKERS if self.holds[name]]))
        one = self.holds[worker].pop(data.draw(st.integers(0, len(self.holds[worker]) - 1)))
        to = data.draw(st.sampled_from([self.states.waiting, self.states.dead, *self.states.finished]))
        held = self.rows.held(one)
        self.rows.end(one, to)
        self.state[held.id] = to
        self.ended.add(held)
        self.late.append(one)

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def end_too_late(self, data: st.DataObject) -> None:
        """Whose attempt has ended, or is not the current one any more, changes nothing. Only an answer counts that comes before
        anybody has tried again: nothing knows better."""
        one = data.draw(st.sampled_from(self.late))
        to = self.states.finished[0]
        held = self.rows.held(one)
        counts = (
            self.rows.late_endings_count
            and held not in self.ended
            and held.attempt == self.attempts[held.id]
            and self.state[held.id] in self.states.open
        )
        savepoint = self.connection.begin_nested()
        with nullcontext() if counts else pytest.raises(LeaseLost, match=f"attempt {held.attempt}"):
            self.rows.end(one, to)
        if counts:
            savepoint.commit()
            self.state[held.id] = to
            self.ended.add(held)
        else:
            savepoint.rollback()

    @rule(worker=st.sampled_from(WORKERS), excused=st.booleans())
    def die(self, worker: str, excused: bool) -> None:
        """What a dead worker held is given back once, by whoever looks, and nothing of the others'. A process of the same name
        never comes back; for the test one begins."""
        name = schema.leases.c.name == f"worker:{worker}"
        self.connection.execute(delete(schema.leases).where(name))
        left, self.holds[worker] = self.holds[worker], []
        ids = [self.rows.held(one).id for one in left]
        assert sorted(self.rows.give_back(excused=excused)) == sorted(ids)
        assert self.rows.give_back(excused=excused) == []
        duties.lives(self.connection, worker)
        is_excused = excused or not self.rows.late_endings_count
        for one in left:
            held = self.rows.held(one)
            self.state[held.id] = self.states.waiting if is_excused else "uncertain"
            self.tries[held.id] -= is_excused
            if is_excused and self.rows.late_endings_count:
                self.ended.add(held)  # it is known that its request never left
        self.late += left

    @precondition(lambda self: self.ids_in("uncertain"))
    @rule()
    def disprove(self) -> None:
        """Evidence shows that uncertain submissions were never taken: they wait again."""
        for id_ in self.ids_in("uncertain"):
            moved = submission_queue.move(
                self.connection, id_, by="disprove", to="waiting", reason="", run_at_ms=1, now_ms=1
            )
            assert moved
            self.state[id_] = self.states.waiting

    @precondition(lambda self: self.state)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        """A person retries something: if it is dead, or was rejected, it has all its tries again, and its number goes on."""
        id_ = data.draw(st.sampled_from(list(self.state)))
        can = self.state[id_] in self.states.before("retry", self.states.waiting)
        assert self.rows.retry(id_) is can
        if can:
            self.state[id_], self.tries[id_] = self.states.waiting, 0

    @precondition(lambda self: self.state)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        """A person discards something: only what is dead."""
        id_ = data.draw(st.sampled_from(list(self.state)))
        can = self.state[id_] == self.states.dead
        assert self.rows.drop(id_) is can
        if can:
            self.state[id_] = self.states.dropped

    @invariant()
    def the_database_agrees(self) -> None:
        """With the model: states, numbers that only grow, and the tries that count."""
        table = duties.table_of(self.rows.duty)
        excused = "forgiven" if table is schema.submissions else "excused"
        found = self.connection.execute(select(table)).mappings().all()
        assert {row["id"]: row["state"] for row in found} == self.state
        assert {row["id"]: row["attempts"] for row in found} == self.attempts
        extra = 0 if excused == "forgiven" else 1
        tries = {row["id"]: row["attempts"] - row["forgiven"] - extra * row[excused] for row in found}
        assert tries == self.tries

    @invariant()
    def whatever_runs_is_held_by_one_worker(self) -> None:
        """And by no other."""
        held = [self.rows.held(one).id for taken in self.holds.values() for one in taken]
        assert sorted(held) == sorted(self.ids_in(self.states.running))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_or_run_by_two(engine: Engine, kind: Any) -> None:
    """For a while, and over and over with what is most likely to go wrong."""
    some = settings(max_examples=12, stateful_step_count=25, deadline=None, print_blob=True)
    run_state_machine_as_test(lambda: Protocol(engine, kind), settings=some)  # type: ignore[arg-type]  # any factory will do


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_or_run_by_two_for_long(engine: Engine, kind: Any) -> None:
    """The same, for many more runs."""
    many = settings(max_examples=500, stateful_step_count=50, deadline=None, print_blob=True)
    run_state_machine_as_test(lambda: Protocol(engine, kind), settings=many)  # type: ignore[arg-type]  # any factory will do


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_rows_are_found_by_their_ids(engine: Engine, kind: Any) -> None:
    """However many wait, or are dead: an index of states would have each statement read all of those."""
    ran: list[tuple[str, Any]] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, is_many: bool) -> None:
        ran.append((statement, parameters[0] if is_many else parameters))

    with engine.connect() as connection:
        rows = kind(connection)
        ids = [rows.add() for _ in range(9)]
        taken = rows.claim("gone", 9)
        for one in taken[:5]:
            rows.end(one, "dead")
        rows.give_back(excused=True)
        table = rows.duty.table
        retry = dead_submissions.retry if kind is Submissions else dead_deliveries.retry
        assert retry(connection, ids[:4], 5) == 4
        protocol.drop(connection, rows.duty, ids[:5], 5)
        updates = [one for one in ran if re.search(rf"\bUPDATE {table}\s+SET state ?=", one[0])]
        assert len(updates) >= 5
        for statement, parameters in updates:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", tuple(parameters)).all()
            assert f"{table}_by_state" not in str(plan), statement
