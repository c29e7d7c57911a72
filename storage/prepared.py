"""A statement that is compiled once.

Core finds the compiled form of a statement anew at each execution, which takes as long as SQLite takes for ten such
statements, and three times that on a core that has been idle: most of the time between a callback and its follow-up.
The statements on that way are therefore turned into text once per database and number of listed values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, CursorResult
from sqlalchemy.sql.elements import ClauseElement


class Prepared:
    """Runs one statement. Parameters come by name; a list is for a parameter declared as expanding.

    Values go to the driver as they are, and come back as it gives them (a boolean of SQLite's as 0 or 1).
    """

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._texts: dict[Any, tuple[str, tuple[str, ...], dict[str, Any]]] = {}

    def __call__(self, connection: Connection, **values: Any) -> CursorResult[Any]:
        """Run it once."""
        text, order, constants = self._text(connection, values)
        return connection.exec_driver_sql(text, self._arguments(order, constants, values))

    def many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run it once for each row of parameters."""
        text, order, constants = self._text(connection, rows[0])
        connection.exec_driver_sql(text, [self._arguments(order, constants, row) for row in rows])

    def _arguments(
        self, order: tuple[str, ...], constants: Mapping[str, Any], values: Mapping[str, Any]
    ) -> tuple[Any, ...]:
        flat = dict(constants)
        for name, value in values.items():
            if isinstance(value, list):
                flat.update({f"{name}_{number}": one for number, one in enumerate(value, 1)})
            else:
                flat[name] = value
        return tuple([flat[name] for name in order])

    def _text(
        self, connection: Connection, values: Mapping[str, Any]
    ) -> tuple[str, tuple[str, ...], dict[str, Any]]:
        lengths = tuple((name, len(value)) for name, value in values.items() if isinstance(value, list))
        key = (connection.dialect.name, lengths)
        if key not in self._texts:
            compiled: Any = self._statement.compile(dialect=connection.dialect, column_keys=list(values))
            expanded = compiled.construct_expanded_state(dict(values))
            constants = {name: value for name, value in compiled.params.items() if name not in values}
            self._texts[key] = (expanded.statement, tuple(expanded.positiontup), constants)
        return self._texts[key]

    def explain(self, connection: Connection, **values: Any) -> list[str]:
        """How PostgreSQL runs it, having run it (EXPLAIN ANALYZE). For benchmarks."""
        text, order, constants = self._text(connection, values)
        arguments = self._arguments(order, constants, values)
        return [str(row[0]) for row in connection.exec_driver_sql(f"EXPLAIN (ANALYZE) {text}", arguments)]
