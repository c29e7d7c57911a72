"""Definitions that all tables share: the PostgreSQL schema, the metadata, and helpers for keys and partial indexes."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, Integer, MetaData, text

SCHEMA = "hookchain_data"
"""Not "hookchain": PostgreSQL's default search_path is "$user", public. For a role named "hookchain", a schema of that
name would come first, and so it would for every other program that connects as that role."""

AUTOMATIC = "substr(asked_by, 1, 7) <> 'person:' AND state <> 'refused'"
"""SQL condition for the submissions that count towards the budget of rules and plugins: not requested by a person, and
not refused by a budget."""

metadata = MetaData()

# SQLite generates row ids only for INTEGER PRIMARY KEY.
serial = BigInteger().with_variant(Integer, "sqlite")


def partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index of only the rows that match `where`."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))
