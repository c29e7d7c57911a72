"""Values that belong to the database rather than to a process: the secret that was made once, the last check."""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects.postgresql import insert as upsert  # compiles for SQLite too

from storage import schema

_value = select(schema.meta.c.value).where(schema.meta.c.key == bindparam("wanted"))
_make = upsert(schema.meta).on_conflict_do_nothing(index_elements=["key"])
_touch = upsert(schema.meta)
_touch = _touch.on_conflict_do_update(index_elements=["key"], set_={"value": _touch.excluded.value})


def touch(connection: Connection) -> None:
    """Write something, so that it shows whether anything can be written."""
    connection.execute(_touch, {"key": "checked", "value": secrets.token_hex(4)})


def remember_address(connection: Connection, url: str) -> None:
    """Where the process that receives can be reached, for workers that do not know."""
    connection.execute(_touch, {"key": "address", "value": url})


def address(connection: Connection) -> str | None:
    """Where the process that receives can be reached, as it said when it started last."""
    value: str | None = connection.execute(_value, {"wanted": "address"}).scalar()
    return value


def secret(connection: Connection) -> str:
    """The secret of this database, made when it is first asked for."""
    connection.execute(_make, {"key": "secret", "value": secrets.token_urlsafe(32)})
    return str(connection.execute(_value, {"wanted": "secret"}).scalar_one())
