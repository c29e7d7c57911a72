"""How a database runs each statement of a transaction: by which indexes, and how much it reads.

Each statement is run twice: once under the database's own explanation, whose changes are undone, and then truly.
PostgreSQL counts the rows that its scans read. SQLite counts the instructions of its virtual machine, a few for a row that
is skipped and dozens for one that is given back: `INSTRUCTIONS_A_ROW` of them are taken for one row.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg
from sqlalchemy import Connection, event

INSTRUCTIONS_A_ROW = 15
_COUNTED_EACH = 25

_UNEXPLAINED = ("SAVEPOINT", "RELEASE", "ROLLBACK", "BEGIN", "PRAGMA", "SET ")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How one statement was run. `steps` are the database's own words; `scanned` are tables that were read whole or in
    the order of their rows, without an index; `indexes` are those that were used, primary keys as "table.primary_key"."""

    statement: str
    steps: tuple[str, ...]
    scanned: frozenset[str]
    indexes: frozenset[str]
    rows_read: int


@contextlib.contextmanager
def recorded(connection: Connection) -> Iterator[list[Plan]]:
    """The plans of all statements that run on the connection in the `with` block."""
    plans: list[Plan] = []
    driver: Any = connection.connection.driver_connection
    explain = _explain_sqlite if isinstance(driver, sqlite3.Connection) else _explain_postgres

    def before(_: Any, __: Any, statement: str, parameters: Any, ___: Any, many: bool) -> None:
        if statement.startswith(_UNEXPLAINED):
            return
        plans.append(explain(driver, statement, parameters[0] if many else parameters))

    event.listen(connection, "before_cursor_execute", before)
    try:
        yield plans
    finally:
        event.remove(connection, "before_cursor_execute", before)


def _explain_sqlite(driver: sqlite3.Connection, statement: str, parameters: Any) -> Plan:
    steps = [str(row[-1]) for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    aliases = {}
    words = statement.replace(",", " ").split()
    for table, word, alias in zip(words, words[1:], words[2:], strict=False):
        if word == "AS":
            aliases[alias.strip("()")] = table.strip("()")
    scanned, indexes = set(), set()
    for step in steps:
        verb, _, rest = step.partition(" ")
        if verb not in ("SCAN", "SEARCH"):
            continue
        name, _, how = rest.partition(" ")
        table = aliases.get(name, name)
        if "INDEX" in how and "AUTOMATIC" not in how:
            index = how.split("INDEX ")[1].split()[0]
            indexes.add(f"{table}.primary_key" if index.startswith("sqlite_autoindex") else index)
        elif "PRIMARY KEY" in how:
            indexes.add(f"{table}.primary_key")
        else:
            scanned.add(table)
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += _COUNTED_EACH
        return 0

    driver.execute("SAVEPOINT explained")
    driver.set_progress_handler(count, _COUNTED_EACH)
    try:
        driver.execute(statement, parameters).fetchall()
    finally:
        driver.set_progress_handler(None, 0)
        driver.execute("ROLLBACK TO explained")
        driver.execute("RELEASE explained")
    return Plan(
        statement=statement,
        steps=tuple(steps),
        scanned=frozenset(scanned),
        indexes=frozenset(indexes),
        rows_read=counted // INSTRUCTIONS_A_ROW,
    )


def _explain_postgres(driver: psycopg.Connection[Any], statement: str, parameters: Any) -> Plan:
    driver.execute("SAVEPOINT explained")
    cursor = driver.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
    (found,) = cursor.fetchone() or ("[]",)
    driver.execute("ROLLBACK TO explained")
    driver.execute("RELEASE explained")
    nodes = list(_nodes((json.loads(found) if isinstance(found, str) else found)[0]["Plan"]))
    names = [node.get("Index Name", "") for node in nodes]
    return Plan(
        statement=statement,
        steps=tuple(_line(node) for node in nodes),
        scanned=frozenset(node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"),
        indexes=frozenset(
            f"{name.removesuffix('_pkey')}.primary_key" if name.endswith("_pkey") else name
            for name in names
            if name
        ),
        rows_read=int(sum(_rows_read(node) for node in nodes)),
    )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _rows_read(node: dict[str, Any]) -> float:
    if not node["Node Type"].endswith("Scan") or "Relation Name" not in node:
        return 0.0
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float((node["Actual Rows"] + removed) * node["Actual Loops"])


def _line(node: dict[str, Any]) -> str:
    of = node.get("Index Name") or node.get("Relation Name") or ""
    return f"{node['Node Type']} {of} {node.get('Index Cond', '')} rows {_rows_read(node):g}".strip()
