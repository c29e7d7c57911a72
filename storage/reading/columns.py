"""The columns of records, for lists that SQLAlchemy puts together from filters. `decoder_of` makes the records from their rows."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Column, Table

from storage.driver.decoder import fields_of


def columns_in(table: Table, record: type[msgspec.Struct]) -> list[Column[Any]]:
    """A record's columns in a table, in the order of its fields."""
    return [table.c[name] for name in fields_of(record)]
