"""Keyset pages of one list, newest first, that read a bounded number of rows, whatever the filter.

An index answers one filter; the other filters are applied to the next `LOOKED_AT` rows. If too few of these match, the page is
short, and the next one continues from there.

Fixed questions of this room are SQL text, in its modules named `sql`. Lists with filters, here, in dead_letters.py and in gallery.py,
are put together by SQLAlchemy, and run with `connection.execute`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Column, ColumnElement, Connection, Table, and_, select, tuple_

from storage.driver.decoder import decoder_of
from storage.reading.columns import columns_in

Record = TypeVar("Record")

_decoder_of = cache(decoder_of)

LOOKED_AT = 2000
"""Rows that a page examines at most for filters without an index."""


class Page(list[Record]):
    """The rows of a page. `next` is the place where the next page begins; None if there is nothing older."""

    next: list[int | str] | None = None


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Describes one list of a record. `order`: the columns that it is sorted by, newest first; `indexed`: the filters that an index answers, the
    most selective first, each with its condition; `derived`: filters that compare no column but an expression."""

    table: Table
    record: type[msgspec.Struct]
    order: Sequence[Column[Any]]
    indexed: Mapping[str, Callable[[Any], ColumnElement[bool] | None]] = {}
    derived: Mapping[str, ColumnElement[Any]] = {}

    def value(self, name: str) -> ColumnElement[Any]:
        """What a filter compares."""
        derived = self.derived.get(name)
        return self.table.c[name] if derived is None else derived.label(name)


def equals(column: Column[Any], *, but: Sequence[str] = ()) -> Callable[[Any], ColumnElement[bool] | None]:
    """A function that gives the condition that a column has a value; None for the values of `but`, which most rows have."""
    return lambda value: None if value in but else column == value


def read(
    connection: Connection,
    kind: Listing,
    most: int,
    before: tuple[int | str, ...] | None,
    equal: Mapping[str, object],
) -> Page[Any]:
    """Up to `most` rows with the values `equal`, after the place `before`, which holds a row's values of `order`."""
    order = [column.desc() for column in kind.order]
    by_index, others = _split(kind, equal)
    wanted = [*kind.table.primary_key, *kind.order, *map(kind.value, others)]
    window = select(*dict.fromkeys(wanted))
    if by_index is not None:
        window = window.where(by_index)
    if before is not None:
        window = window.where(tuple_(*kind.order) < before if len(before) > 1 else kind.order[0] < before[0])
    window = window.order_by(*order)
    if others:
        looked = window.limit(LOOKED_AT).subquery("looked")
        matching = select(looked).where(*(looked.c[name] == value for name, value in others.items()))
        chosen = matching.order_by(*(looked.c[column.name].desc() for column in kind.order)).limit(most)
    else:
        chosen = window.limit(most)
    keys = chosen.subquery("chosen")
    same_row = and_(*(column == keys.c[column.name] for column in kind.table.primary_key))
    wide = select(*columns_in(kind.table, kind.record)).join(keys, same_row)
    rows = connection.execute(wide.order_by(*order)).all()
    page: Page[Any] = Page(map(_decoder_of(kind.record), rows))
    if len(rows) == most:
        page.next = [rows[-1]._mapping[column] for column in kind.order]
    elif others:
        last = connection.execute(window.offset(LOOKED_AT - 1).limit(1)).first()
        page.next = None if last is None else [last._mapping[column] for column in kind.order]
    return page


def _split(
    kind: Listing, equal: Mapping[str, object]
) -> tuple[ColumnElement[bool] | None, dict[str, object]]:
    """The condition that an index answers, and the remaining filters."""
    for name, condition in kind.indexed.items():
        if name in equal and (by_index := condition(equal[name])) is not None:
            return by_index, {other: value for other, value in equal.items() if other != name}
    return None, dict(equal)
