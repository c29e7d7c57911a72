"""Statements as text: what their parameters become, what their rows become, and that each of them runs on both databases."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import msgspec
import pytest
from sqlalchemy import Connection, Engine

import storage
from storage.driver.decoder import columns_of, decoder_of, parameters_of, width_of
from storage.driver.statements import LONGEST_KEPT, Command, Query, Statement, for_postgres, for_sqlite
from storage.engine import Database, write_engine
from storage.events.sql import Kept, Whole
from storage.records import Payload

MODULES = [
    module.name
    for module in pkgutil.walk_packages(storage.__path__, "storage.")
    if module.name.rsplit(".", 1)[-1].startswith("sql") and not module.name.startswith("storage.driver")
]
STATEMENTS = {
    f"{name.removeprefix('storage.')}.{constant}": statement
    for name in MODULES
    for constant, statement in vars(importlib.import_module(name)).items()
    if isinstance(statement, Statement)
}


READ_PAYLOADS = [
    name
    for name, statement in STATEMENTS.items()
    if isinstance(statement, Query) and "payload" in statement.text and "RETURNING" not in statement.text
]


class Inner(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    is_open: bool
    names: tuple[str, ...] = ()


class Outer(NamedTuple):
    number: int
    inner: Inner
    absent: Inner | None


def values_for(statement: Statement) -> dict[str, Any]:
    """An empty value for each parameter: no row has it."""
    _, names = for_postgres(statement.text)
    values: dict[str, Any] = dict.fromkeys(names)
    for name in names:
        if f"IN (:{name})" in statement.text:
            values[name] = []
        elif f"LIMIT :{name}" in statement.text:
            values[name] = 1
    return values


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An empty database of either kind, opened once for all statements: none of them changes it."""
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_template")
    else:
        file = tmp_path_factory.mktemp("statements") / "hookchain.db"
        shutil.copy(request.getfixturevalue("new_file"), file)
        url = f"sqlite:///{file}"
    engine = write_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """In a transaction of its own, which is rolled back."""
    with engine.connect() as connection:
        yield connection
        connection.rollback()


@pytest.mark.parametrize("name", STATEMENTS)
def test_each_statement_runs_and_its_columns_are_the_fields_of_its_rows(
    connection: Connection, name: str
) -> None:
    """A column that was renamed, a parameter without a type or a row that lacks a field is found here."""
    statement = STATEMENTS[name]
    if isinstance(statement, Query) and "RETURNING" not in statement.text:
        if connection.dialect.name != "sqlite" and "json_group_array" in statement.text:
            return  # SQLite's own
        cursor = statement.execute(connection, values_for(statement))
        assert len(cursor.description) == statement.width
    else:  # it writes, so it is only explained
        text, names = (for_sqlite if connection.dialect.name == "sqlite" else as_on_postgres)(
            statement.text, {name: 0 for name, value in values_for(statement).items() if value == []}
        )
        cursor = connection.connection.cursor()
        cursor.execute(f"EXPLAIN {text}", [values_for(statement)[name] for name in names])


@pytest.mark.parametrize("name", READ_PAYLOADS)
def test_each_statement_that_reads_a_payload_unpacks_it(connection: Connection, name: str) -> None:
    """A reader that takes the column as it is stored would get packed bytes, once the event is some minutes old."""
    statement = STATEMENTS[name]
    assert isinstance(statement, Query)
    columns = [column[0] for column in statement.execute(connection, values_for(statement)).description]
    hints = [hint for column, hint in zip(columns, leaves(statement.row), strict=True) if column == "payload"]
    if statement.row in (Kept, Whole):  # for packing itself
        assert hints == [bytes]
    else:
        assert all(hint in (Payload, Payload | None) for hint in hints)


def leaves(kind: Any) -> list[Any]:
    """The types of the columns that make a value of this type."""
    kinds = [one for one in (kind, *get_args(kind)) if isinstance(one, type)]
    records = [one for one in kinds if hasattr(one, "__struct_fields__") or hasattr(one, "_fields")]
    if not records:
        return [kind]
    hints = get_type_hints(records[0], include_extras=True)
    return [leaf for hint in hints.values() for leaf in leaves(hint)]


def as_on_postgres(text: str, _lengths: Any) -> tuple[str, tuple[str, ...]]:
    return for_postgres(text)


def test_the_parameters_of_a_statement_have_their_marks_in_order() -> None:
    text = "UPDATE tasks SET status = :status, prompt = 'a :word, 100%' WHERE id IN (:ids) AND upstream = :status"
    assert for_sqlite(text, {"ids": 2}) == (
        "UPDATE tasks SET status = ?, prompt = 'a :word, 100%' WHERE id IN (?,?) AND upstream = ?",
        ("status", "ids.0", "ids.1", "status"),
    )
    assert for_postgres(text) == (
        "UPDATE hookchain_data.tasks SET status = %s, prompt = 'a :word, 100%%' WHERE id = ANY (%s) AND upstream = %s",
        ("status", "ids", "status"),
    )


def test_what_is_for_postgresql_only_is_a_comment_to_sqlite() -> None:
    text = "SELECT tasks.id FROM tasks JOIN events ON TRUE WHERE tasks.id NOT IN (:ids) /*postgresql FOR UPDATE */"
    assert for_sqlite(text, {"ids": 0})[0].endswith("NOT IN () /*postgresql FOR UPDATE */")
    assert for_postgres(text)[0] == (
        "SELECT tasks.id FROM hookchain_data.tasks JOIN hookchain_data.events ON TRUE"
        " WHERE tasks.id <> ALL (%s)  FOR UPDATE "
    )


def test_rows_get_the_types_of_their_fields() -> None:
    assert columns_of(Inner, "t") == "t.id, t.is_open, t.names"
    assert parameters_of(Inner) == ":id, :is_open, :names"
    assert decoder_of(Inner)((1, 0, '["a"]')) == Inner(id=1, is_open=False, names=("a",))
    assert decoder_of(bool)((1,)) is True
    assert width_of(Outer) == 7
    outer = decoder_of(Outer)((5, 1, 1, "[]", None, None, None))
    assert outer == Outer(5, Inner(id=1, is_open=True), None)


async def test_a_list_may_be_empty_or_long(database: Database) -> None:
    names = Query("SELECT key FROM meta WHERE key IN (:wanted) AND key NOT IN (:hidden) ORDER BY key", str)
    add = Command("INSERT INTO meta (key, value) VALUES (:name, '')")

    def story(connection: Connection) -> None:
        assert add.many(connection, [{"name": f"key-{number}"} for number in range(4)]) == 4
        every = [f"key-{number}" for number in range(2000)]
        assert names.all(connection, wanted=every, hidden=[]) == every[:4]
        assert names.all(connection, wanted=every[:3], hidden=every[1:2]) == ["key-0", "key-2"]
        assert names.all(connection, wanted=[], hidden=[]) == []
        assert names.first(connection, wanted=[], hidden=[]) is None
        with pytest.raises(LookupError, match="no row: SELECT key"):
            names.one(connection, wanted=[], hidden=[])
        with pytest.raises(KeyError, match="hidden"):
            names.all(connection, wanted=[])

    await database.write("test", story)


async def test_long_lists_of_each_length_leave_no_text_in_memory(database: Database) -> None:
    """A loop in another system makes a list one longer with each event: its text is not needed again."""
    names = Query("SELECT key FROM meta WHERE key IN (:wanted)", str)

    def ask(connection: Connection) -> None:
        for length in range(LONGEST_KEPT - 1, LONGEST_KEPT + 50):
            assert names.all(connection, wanted=["nothing"] * length) == []

    await database.read(ask)
    assert len(names._forms) <= 2


@pytest.mark.parametrize("name", MODULES)
def test_a_module_of_statements_holds_statements_and_rows_and_nothing_else(name: str) -> None:
    """It knows the driver's `Query` and `Command`, the records, and other such modules: no SQLAlchemy, and nothing that runs."""
    tree = ast.parse(Path(importlib.import_module(name).__file__ or "").read_text())
    allowed = re.compile(
        r"__future__|typing|msgspec|storage\.records.*|storage\.driver\.(statements|decoder)|storage\.(.*\.)?sql\w*"
        r"|storage\.submissions(\.modal_answers)?"  # conditions that several rooms share
    )
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert [module for module in imported if not allowed.fullmatch(module)] == []
