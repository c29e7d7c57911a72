"""Many rows in one statement.

A driver gives the interpreter lock away at each step of a statement, and must wait for it again while the event loop
is busy: a row at a time, that wait is most of what a callback costs. So a batch goes in as one INSERT of many rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, CursorResult, Table

from storage.schema import SCHEMA


def insert_rows(
    connection: Connection, table: Table, rows: Sequence[Sequence[object]], names: Sequence[str]
) -> None:
    """Insert rows given as values in the order of `names`."""
    _run(connection, table, tuple(names), rows, "")


def reserve_rows(
    connection: Connection,
    table: Table,
    rows: Sequence[Sequence[object]],
    names: Sequence[str],
    keys: Sequence[str],
) -> list[tuple[str, ...]]:
    """Insert those rows whose `keys` nobody has; the keys of the rows that were inserted."""
    tail = f" ON CONFLICT ({','.join(keys)}) DO NOTHING RETURNING {','.join(keys)}"
    return [tuple(row) for row in _run(connection, table, tuple(names), rows, tail)]


def upsert_rows(
    connection: Connection,
    table: Table,
    rows: Sequence[Sequence[object]],
    names: Sequence[str],
    keys: Sequence[str],
) -> None:
    """Insert rows, or overwrite those that have the same `keys`."""
    _run(connection, table, tuple(names), rows, _on_conflict(tuple(names), tuple(keys)))


def _run(
    connection: Connection, table: Table, names: tuple[str, ...], rows: Sequence[Sequence[object]], tail: str
) -> CursorResult[Any]:
    values = tuple(value for row in rows for value in row)
    statement = _statement(table.name, names, len(rows), tail, connection.dialect.name)
    return connection.exec_driver_sql(statement, values)


@lru_cache(maxsize=2048)
def _statement(table: str, names: tuple[str, ...], count: int, tail: str, dialect: str) -> str:
    mark, schema = ("?", "") if dialect == "sqlite" else ("%s", f"{SCHEMA}.")
    row = f"({','.join([mark] * len(names))})"
    return f"INSERT INTO {schema}{table} ({','.join(names)}) VALUES {','.join([row] * count)}{tail}"


@lru_cache
def _on_conflict(names: tuple[str, ...], keys: tuple[str, ...]) -> str:
    updates = ",".join(f"{name}=excluded.{name}" for name in names if name not in keys)
    return f" ON CONFLICT ({','.join(keys)}) DO UPDATE SET {updates}"
