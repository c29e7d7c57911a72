"""Turns rows of the driver into typed values.

The drivers return plain values: SQLite has no booleans (0 or 1), lists are stored as JSON, and payloads are packed.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from storage.payloads import Stored

T = TypeVar("T")


def columns_of(record: type[Any], table: str = "") -> str:
    """The columns of a record as they stand in a SELECT: `events.id, events.upstream`; without a table, `id, upstream`."""
    return ", ".join(f"{table}.{name}" if table else name for name in fields_of(record))


def parameters_of(record: type[Any]) -> str:
    """The parameters for a record's columns, as they stand in an INSERT: `:id, :upstream`."""
    return ", ".join(f":{name}" for name in fields_of(record))


def fields_of(record: type[Any]) -> tuple[str, ...]:
    """The names of the fields of a struct or a named tuple, in order."""
    return tuple(record.__struct_fields__ if _is_struct(record) else record._fields)


def decoder_of(kind: type[T]) -> Callable[[Sequence[Any]], T]:
    """A function that makes a value of this type from a row.

    The type is a struct or a named tuple, whose fields are the columns in order; or a plain type, for rows of one column. A field
    that is a struct itself takes as many columns as it has fields; if it may be None, it is None where the first of them is NULL.
    """
    known: dict[str, object] = {}
    # One expression, as in collections.namedtuple: a loop over the fields of each row takes twice as long.
    decode: Callable[[Sequence[Any]], T] = eval(f"lambda row: {_value(kind, 0, known)}", known)
    return decode


def width_of(kind: Any) -> int:
    """The number of columns that a value of this type takes."""
    record = kind if _is_record(kind) else _record_in(kind)
    return 1 if record is None else sum(map(width_of, _hints(record).values()))


def _value(hint: Any, at: int, known: dict[str, object]) -> str:
    """The expression for a value of this type from the columns of `row` that begin at `at`; `known` gets what it refers to."""
    record = hint if _is_record(hint) else _record_in(hint)
    convert = _conversion(hint)
    if record is None and convert is None:
        return f"row[{at}]"
    function = f"f{len(known)}"
    known[function] = record or convert
    if record is None:
        restored = f"{function}(row[{at}])"
        return f"None if row[{at}] is None else {restored}" if _may_be_none(hint) else restored
    hints, fields, first = _hints(record), [], at
    for name in fields_of(record):
        fields.append(f"{name}={_value(hints[name], at, known)}")
        at += width_of(hints[name])
    made = f"{function}({', '.join(fields)})"
    return f"None if row[{first}] is None else {made}" if _may_be_none(hint) else made


def _hints(record: type[Any]) -> dict[str, Any]:
    return get_type_hints(record, include_extras=True)


def _is_record(kind: Any) -> bool:
    return _is_struct(kind) or hasattr(kind, "_fields")


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _may_be_none(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint)


def _record_in(hint: Any) -> type[Any] | None:
    """The record type of a field, or None if the field is one column."""
    kinds = get_args(hint) if _may_be_none(hint) else (hint,)
    return next((kind for kind in kinds if _is_struct(kind)), None)


def _conversion(hint: Any) -> Callable[[Any], Any] | None:
    """What turns the driver's value into the field's; None if it is that already."""
    if _may_be_none(hint):
        return next(filter(None, map(_conversion, get_args(hint))), None)
    if get_origin(hint) is Annotated:
        return next((extra.restore for extra in hint.__metadata__ if isinstance(extra, Stored)), None)
    if hint is bool:
        return bool
    if get_origin(hint) is tuple:
        return msgspec.json.Decoder(hint).decode
    return None
