"""Inserts many rows with one statement.

A driver releases the interpreter lock at each step of a statement, and must wait for it again while the event loop is busy.
With one row at a time that wait is most of the cost of a callback, so a batch is written with one INSERT of many rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Table

from storage.driver import statements
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
    """Insert the rows whose `keys` do not exist yet; returns the keys of the inserted rows."""
    tail = f" ON CONFLICT ({','.join(keys)}) DO NOTHING RETURNING {','.join(keys)}"
    return [tuple(row) for row in _run(connection, table, tuple(names), rows, tail)]


def upsert_rows(
    connection: Connection,
    table: Table,
    rows: Sequence[Sequence[object]],
    names: Sequence[str],
    keys: Sequence[str],
) -> None:
    """Insert rows, or overwrite existing rows with the same `keys`."""
    _run(connection, table, tuple(names), rows, _on_conflict(tuple(names), tuple(keys)))


def _run(
    connection: Connection, table: Table, names: tuple[str, ...], rows: Sequence[Sequence[object]], tail: str
) -> Any:
    values = [value for row in rows for value in row]
    text = _text(table.name, names, len(rows), tail, connection.dialect.name)
    return statements.run(connection, text, values)


@lru_cache(maxsize=2048)
def _text(table: str, names: tuple[str, ...], count: int, tail: str, dialect: str) -> str:
    mark, schema = ("?", "") if dialect == "sqlite" else ("%s", f"{SCHEMA}.")
    row = f"({','.join([mark] * len(names))})"
    return f"INSERT INTO {schema}{table} ({','.join(names)}) VALUES {','.join([row] * count)}{tail}"


@lru_cache
def _on_conflict(names: tuple[str, ...], keys: tuple[str, ...]) -> str:
    updates = ",".join(f"{name}=excluded.{name}" for name in names if name not in keys)
    return f" ON CONFLICT ({','.join(keys)}) DO UPDATE SET {updates}"
