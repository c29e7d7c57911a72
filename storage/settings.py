"""Values that belong to the database rather than to a process, such as the generated secret."""

from __future__ import annotations

import secrets

from sqlalchemy import Connection

from storage import sql_operations as sql


def touch(connection: Connection) -> None:
    """Write a value, to check that the database accepts writes."""
    keep(connection, "checked", secrets.token_hex(4))


def remember_address(connection: Connection, url: str) -> None:
    """Store the URL of the receiving process, for workers that do not know it."""
    keep(connection, "address", url)


def address(connection: Connection) -> str | None:
    """The URL of the receiving process, as stored at its last start; None if it never was."""
    return value(connection, "address")


def secret(connection: Connection) -> str:
    """The secret of this database, generated on the first call."""
    return make(connection, "secret")


def make(connection: Connection, key: str) -> str:
    """The secret stored under a key, generated on the first call."""
    sql.ADD_VALUE(connection, key=key, value=secrets.token_urlsafe(32))
    return sql.VALUE.one(connection, key=key)


def value(connection: Connection, key: str) -> str | None:
    """The value stored under a key, or None."""
    return sql.VALUE.first(connection, key=key)


def forget(connection: Connection, key: str) -> bool:
    """Delete the value under a key; True if there was one."""
    return sql.FORGET_VALUE(connection, key=key) > 0


def keep(connection: Connection, key: str, text: str) -> None:
    """Store a value under a key; replaces the previous one."""
    sql.PUT_VALUE(connection, key=key, value=text)
