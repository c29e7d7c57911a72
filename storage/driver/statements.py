"""SQL statements as text, run on the driver's cursor, with typed rows.

Each room keeps its statements in a module named `sql`, one constant for each. The text is SQL that both databases read:

- `:name` is a parameter. In `IN (:names)` and `NOT IN (:names)` it is a list, which may be empty.
- Tables have their plain names after FROM, JOIN, INTO and UPDATE; on PostgreSQL their schema is put before them.
- `VALUES (…)` with its parameters is one row. `for_rows` repeats it, so that one statement serves many rows.
- `/*postgresql … */` is for PostgreSQL only, such as `FOR UPDATE`, and `/*sqlite … */` for SQLite only: the other one reads a
  comment. SQLite uses the partial indexes of flags only for `advanced /*sqlite = 1 */`, as in the index.

SQLAlchemy's own execution takes four times as long as the driver's cursor (docs/decisions/0032).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Connection

from storage.driver.decoder import decoder_of, width_of
from storage.schema import SCHEMA, metadata

Row = TypeVar("Row")

_TABLE = re.compile(rf"\b(FROM|JOIN|INTO|UPDATE)\s+({'|'.join(sorted(metadata.tables))})\b")
_LIST = re.compile(r"\b(NOT )?IN \(:(\w+)\)")
_PARAMETER = re.compile(r"(?<![:\w]):(\w+)|'[^']*'")
_ROW = re.compile(r"(?<=VALUES )\((?:[^()]|\([^()]*\))*\)")
_POSTGRES_ONLY = re.compile(r"/\*postgresql\b(.*?)\*/", re.DOTALL)
_SQLITE_ONLY = re.compile(r"/\*sqlite\b(.*?)\*/", re.DOTALL)

Form = tuple[str, tuple[str, ...]]
"""A statement as a driver reads it, and the names of its parameters in order."""


LONGEST_KEPT = 100
"""Values of lists up to which a form for SQLite is kept. Each length has a form of its own, so that longer lists would fill the memory
with forms that are rarely needed again."""


class Statement:
    """The text of a statement, and its forms for each database."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._lists = tuple(dict.fromkeys(found[2] for found in _LIST.finditer(text)))
        self._forms: dict[tuple[int, ...] | None, Form] = {}
        self._forms_for_rows: dict[tuple[int, ...], tuple[Form, Form, Form]] = {}

    def execute(self, connection: Connection, values: Mapping[str, object]) -> Any:
        """Run it; returns the driver's cursor. Raises the driver's errors, and `KeyError` if a parameter is missing."""
        if connection.dialect.name != "sqlite":
            text, names = self._for_postgres()
        else:
            lengths = tuple([len(cast(Sequence[object], values[name])) for name in self._lists])
            text, names = self._for_sqlite(lengths)
            values = _with_items(values, self._lists) if lengths else values
        return run(connection, text, [values[name] for name in names])

    def execute_many(self, connection: Connection, rows: Sequence[Mapping[str, object]]) -> int:
        """Run it once for each row of parameters, none of them a list; returns the number of rows changed in all."""
        is_file = connection.dialect.name == "sqlite"
        text, names = self._for_sqlite(()) if is_file else self._for_postgres()
        arguments = [[row[name] for name in names] for row in rows]
        cursor = _cursor(connection, text, arguments, True)
        cursor.executemany(text, arguments)
        changed: int = cursor.rowcount
        return changed

    def for_rows(self, connection: Connection, rows: Sequence[Mapping[str, object]], **shared: object) -> Any:
        """Run it once, with its `VALUES (…)` for each of these rows; returns the driver's cursor. A parameter outside it, which may
        be a list, has one value: it is in `shared`, as are values that all rows have in common."""
        is_file = connection.dialect.name == "sqlite"
        lengths = {name: len(cast(Sequence[object], shared[name])) for name in self._lists} if is_file else {}
        forms = self._around_rows(is_file, lengths)
        (head, before), (row, names), (tail, after) = forms
        if lengths:
            shared = _with_items(shared, self._lists)
        values = [shared[name] for name in before]
        for given in rows:
            values += [given[name] if name in given else shared[name] for name in names]
        values += [shared[name] for name in after]
        return run(connection, f"{head}{','.join([row] * len(rows))}{tail}", values)

    def _around_rows(self, is_file: bool, lengths: Mapping[str, int]) -> tuple[Form, Form, Form]:
        """What stands before the rows, one row, and what stands after them."""
        key = (int(is_file), *lengths.values())
        forms = self._forms_for_rows.get(key)
        if forms is None:
            row = _ROW.search(self.text)
            if row is None:
                raise LookupError(f"no VALUES (…): {self.text}")
            made = partial(for_sqlite, lengths=lengths) if is_file else for_postgres
            forms = made(self.text[: row.start()]), made(row[0]), made(self.text[row.end() :])
            self._forms_for_rows[key] = forms
        return forms

    def _for_postgres(self) -> Form:
        form = self._forms.get(None)
        if form is None:
            form = self._forms[None] = for_postgres(self.text)
        return form

    def _for_sqlite(self, lengths: tuple[int, ...]) -> Form:
        form = self._forms.get(lengths)
        if form is None:
            form = for_sqlite(self.text, dict(zip(self._lists, lengths, strict=True)))
            if sum(lengths) <= LONGEST_KEPT:
                self._forms[lengths] = form
        return form


class Command(Statement):
    """A statement that returns no rows."""

    def __call__(self, connection: Connection, **values: object) -> int:
        """Run it; returns the number of rows changed."""
        changed: int = self.execute(connection, values).rowcount
        return changed

    def all_at_once(
        self, connection: Connection, rows: Sequence[Mapping[str, object]], **shared: object
    ) -> int:
        """Run it once for all rows of its VALUES; returns the number of rows changed."""
        changed: int = self.for_rows(connection, rows, **shared).rowcount
        return changed

    def many(self, connection: Connection, rows: Sequence[Mapping[str, object]]) -> int:
        """Run it once for each row of parameters; returns the number of rows changed in all."""
        return self.execute_many(connection, rows)


class Query(Statement, Generic[Row]):
    """A statement that returns rows of one type, of `width` columns: see `decoder_of` for the types."""

    def __init__(self, text: str, row: type[Row]) -> None:
        super().__init__(text)
        self.row = row
        self.width = width_of(row)
        self._decode = decoder_of(row)

    def all(self, connection: Connection, **values: object) -> list[Row]:
        """All rows."""
        decode = self._decode
        return [decode(row) for row in self.execute(connection, values).fetchall()]

    def all_of_rows(
        self, connection: Connection, rows: Sequence[Mapping[str, object]], **shared: object
    ) -> list[Row]:
        """All rows that it returns for the rows of its VALUES."""
        return [self._decode(row) for row in self.for_rows(connection, rows, **shared).fetchall()]

    def first(self, connection: Connection, **values: object) -> Row | None:
        """The first row; None if there is none, or if its only column is NULL."""
        row = self.execute(connection, values).fetchone()
        return None if row is None or (len(row) == 1 and row[0] is None) else self._decode(row)

    def one(self, connection: Connection, **values: object) -> Row:
        """The only row. Raises `LookupError` if there is none."""
        row = self.execute(connection, values).fetchone()
        if row is None:
            raise LookupError(f"no row: {self.text}")
        return self._decode(row)

    def each(self, connection: Connection, **values: object) -> Iterator[Row]:
        """The rows, one after the other."""
        yield from map(self._decode, self.execute(connection, values))


def for_postgres(text: str) -> Form:
    """The form for PostgreSQL. A list is passed whole, as an array."""
    text = _POSTGRES_ONLY.sub(r"\1", text).replace("%", "%%")
    text = _TABLE.sub(rf"\1 {SCHEMA}.\2", text)
    text = _LIST.sub(lambda found: f"{'<> ALL' if found[1] else '= ANY'} (:{found[2]})", text)
    return _with_marks(text, "%s", {})


def for_sqlite(text: str, lengths: Mapping[str, int]) -> Form:
    """The form for SQLite. A list of this length is passed value by value, named `name.0`, `name.1`, …"""
    return _with_marks(_SQLITE_ONLY.sub(r"\1", text), "?", lengths)


def _with_marks(text: str, mark: str, lengths: Mapping[str, int]) -> Form:
    names: list[str] = []

    def marked(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:  # a literal
            return found[0]
        if name not in lengths:
            names.append(name)
            return mark
        names.extend(f"{name}.{number}" for number in range(lengths[name]))
        return ",".join([mark] * lengths[name])

    return _PARAMETER.sub(marked, text), tuple(names)


def _with_items(values: Mapping[str, object], lists: tuple[str, ...]) -> dict[str, object]:
    items = dict(values)
    for name in lists:
        given = cast(Sequence[object], values[name])
        items.update((f"{name}.{number}", item) for number, item in enumerate(given))
    return items


def run(connection: Connection, text: str, arguments: Sequence[Any]) -> Any:
    """Run a text in the form of the connection's driver; returns the driver's cursor. Raises the driver's errors."""
    cursor = _cursor(connection, text, arguments, False)
    cursor.execute(text, arguments)
    return cursor


def _cursor(connection: Connection, text: str, arguments: Sequence[Any], is_many: bool) -> Any:
    """A cursor of the driver, in a transaction of the connection. Listeners to SQLAlchemy's event hear of the statement."""
    if not connection.in_transaction():
        connection.begin()
    cursor = connection.connection.cursor()
    for listener in connection.dispatch.before_cursor_execute:
        listener(connection, cursor, text, arguments, None, is_many)
    return cursor
