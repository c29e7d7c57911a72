"""Each move that the tables of states know is made by a real operation, and no operation makes another."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Update

import storage
from storage.driver.statements import Statement
from storage.duty import protocol
from storage.duty.states import DELIVERY, SUBMISSION, Move, States
from storage.engine import write_engine
from storage.errors import LeaseLost, UnknownMove
from tests.support.duties import Deliveries, Submissions, put, state_of

ROOT = Path(__file__).parent.parent.parent
KINDS: list[Any] = [Deliveries, Submissions]
TABLES = [DELIVERY, SUBMISSION]


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """One transaction on an empty database, which leaves nothing behind."""
    engine = write_engine(database_url)
    with engine.connect() as opened, opened.begin() as transaction:
        yield opened
        transaction.rollback()
    engine.dispose()


def moves(states: States) -> list[tuple[Move, str]]:
    return [(move, after) for move in states.moves for after in move.after]


@pytest.mark.parametrize("kind", KINDS)
def test_every_operation_finds_a_row_in_its_own_states_only(connection: Connection, kind: Any) -> None:
    """Every operation on a row in every state: it is moved as its table says, or stays as it is."""
    duty, wrong = kind.duty, []
    for move, to in moves(duty.states):
        for state in duty.states.every if move.before else ():
            savepoint = connection.begin_nested()
            id_, do = kind(connection).operation(move.by, to)
            put(connection, duty, id_, state)
            inner = connection.begin_nested()
            with contextlib.suppress(LeaseLost):
                do()
                inner.commit()
            if inner.is_active:
                inner.rollback()
            found = state_of(connection, duty, id_)
            if found != (to if state in move.before else state):
                wrong.append((move.by, state, to, found))
            savepoint.rollback()
    assert wrong == []


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_made_in_the_states_of_their_table(connection: Connection, kind: Any) -> None:
    """By each operation that makes any."""
    for move, to in moves(kind.duty.states):
        if not move.before:
            savepoint = connection.begin_nested()
            assert state_of(connection, kind.duty, kind(connection).made(move.by, to)) == to
            savepoint.rollback()


@pytest.mark.parametrize("kind", KINDS)
def test_a_move_that_the_table_does_not_know_cannot_be_asked_for(connection: Connection, kind: Any) -> None:
    """It raises, and changes nothing: an attempt does not end as "refused", nor as running."""
    rows = kind(connection)
    id_ = rows.add()
    (taken,) = rows.claim("w", 1)
    for state in {"refused", rows.duty.states.running, "no-such-state"}:
        inner = connection.begin_nested()
        with pytest.raises(UnknownMove, match=f"never moves a {rows.duty.states.of} to '{state}'"):
            rows.end(taken, state)
        inner.rollback()
    assert state_of(connection, rows.duty, id_) == rows.duty.states.running


def test_a_claim_of_a_row_that_does_not_wait_any_more_fails(connection: Connection) -> None:
    """Whatever it was told by a question that is out of date."""
    for kind in KINDS:
        rows = kind(connection)
        id_ = rows.add()
        assert len(rows.claim("w", 1)) == 1
        values = {"suspected": False} if kind is Deliveries else {}
        with pytest.raises(LeaseLost, match="1 of 1"):
            protocol.claim(connection, rows.duty, [id_], worker="other", now_ms=2, **values)


@pytest.mark.parametrize("states", TABLES, ids=["deliveries", "submissions"])
def test_a_table_of_states_is_complete(states: States) -> None:
    """Each state is reached, all but the finished ones are left, and each operation has a module, and one row for a target."""
    reached = {after for move in states.moves for after in move.after}
    left = {before for move in states.moves for before in move.before}
    assert reached == set(states.every)
    assert left >= set(states.every) - set(states.finished)
    assert {*states.open, *states.finished, states.dead} <= set(states.every)
    assert all(importlib.util.find_spec(move.where) is not None for move in states.moves)
    targets = [(move.by, after) for move in states.moves for after in move.after]
    assert len(targets) == len(set(targets))


def text_of(value: object) -> str:
    """The text of a statement; "" if it is none."""
    statement = getattr(value, "_statement", value)
    if isinstance(statement, Statement):
        return statement.text
    return str(statement) if isinstance(statement, Update) else ""


def test_no_other_statement_changes_a_state() -> None:
    """But the protocol, the proof, the moves and the retries of a submission: those take the states before from the tables. A trial of rules
    sets what a submission of the past came to, in a database of its own that nobody keeps."""
    sets_state = re.compile(r"\s*UPDATE (deliveries|submissions)\b.*?\bstate ?=.*?\bWHERE\b", re.DOTALL)
    changing = set()
    for found in pkgutil.walk_packages(storage.__path__, "storage."):
        if not found.name.startswith("storage.migrations"):
            values = vars(importlib.import_module(found.name)).values()
            changing |= {found.name for value in values if sets_state.match(text_of(value))}
    assert changing == {
        "storage.scratch",
        "storage.duty.sql",
        "storage.submissions.sql",
        "storage.submissions.sql_evidence",
        "storage.submissions.sql_retries",
    }


def rows_of(states: States) -> str:
    """The table in the documentation."""
    head = "| from | what happens | to | operation |\n| --- | --- | --- | --- |\n"
    return head + "\n".join(
        f"| {', '.join(move.before) or '(new)'} | {move.why} | {', '.join(move.after)} | `{move.by}`, `{move.where}` |"
        for move in states.moves
    )


def drawing_of(states: States) -> str:
    """The drawing in the documentation."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for move in states.moves:
        for before in move.before or ("[*]",):
            for after in move.after:
                arrows.setdefault((before, after), []).append(move.by)
    lines = [
        f"    {before} --> {after}: {', '.join(by)}"
        for (before, after), by in arrows.items()
        if before != after
    ]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


@pytest.mark.parametrize("states", TABLES, ids=["deliveries", "submissions"])
def test_the_documentation_shows_the_tables_of_the_code(states: States) -> None:
    """docs/explanation/states.md has both, as a table and as a drawing."""
    page = (ROOT / "docs/explanation/states.md").read_text()
    assert rows_of(states) in page
    assert drawing_of(states) in page


def test_the_operations_of_the_tables_are_those_of_the_code() -> None:
    """A name that nobody uses would be a move that nothing makes."""
    sources = "".join(
        path.read_text() for path in (ROOT / "storage").rglob("*.py") if path.name != "states.py"
    )
    sources += (ROOT / "dispatcher/loops/resolve.py").read_text()
    names = {move.by for states in TABLES for move in states.moves}
    assert {name for name in names if f'"{name}"' not in sources} == set()
