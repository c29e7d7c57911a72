"""Login data in the database: the generated administrator token, and the sessions and login links that have ended."""

from __future__ import annotations

import secrets
from pathlib import Path

from sqlalchemy import Connection, inspect

from storage import schema
from storage import settings as stored
from storage import sql_operations as sql
from storage.driver.outage import driver_errors, original
from storage.engine import glance_engine, parse_url
from storage.errors import NotDurable

TOKEN = "admin_token"
_ENDED = "ended:"
"""Prefix of the keys of ended sessions and links; the value is when each would have expired (epoch ms)."""


def token(connection: Connection) -> str | None:
    """The administrator token that was generated for this database, or None."""
    return stored.value(connection, TOKEN)


def token_at(url: str) -> str | None:
    """The administrator token of the database at a URL; None also if there is no database, or it lacks our tables.

    Blocks; creates and migrates nothing. Raises `BadDatabaseUrl`, and `NotDurable` if the database cannot be read.
    """
    address = parse_url(url)
    if isinstance(address, Path) and not address.exists():
        return None
    engine = glance_engine(url)
    try:
        with engine.connect() as connection:
            inside = None if isinstance(address, Path) else schema.SCHEMA
            is_ours = inspect(connection).has_table(schema.meta.name, schema=inside)
            return token(connection) if is_ours else None
    except driver_errors() as error:
        raise NotDurable(
            f"the token in the database cannot be read: {str(original(error)).strip()}"
        ) from error
    finally:
        engine.dispose()


def make_token(connection: Connection) -> tuple[str, bool]:
    """The administrator token, generated on the first call, and True if this call generated it."""
    known = stored.value(connection, TOKEN)
    made = stored.make(connection, TOKEN)
    return made, known is None


def replace_token(connection: Connection) -> str:
    """Replace the token with a new one, which is returned."""
    made = secrets.token_urlsafe(32)
    stored.keep(connection, TOKEN, made)
    return made


def end(connection: Connection, name: str, until_ms: int, now_ms: int) -> bool:
    """End a session, or use up a login link. False if that has happened before: of two concurrent calls, one gets True.

    The name is remembered until `until_ms`, when it would have expired.
    """
    sql.FORGET_ENDED(connection, now_ms=now_ms)
    return sql.ADD_VALUE(connection, key=_ENDED + name, value=str(until_ms)) == 1


def has_ended(connection: Connection, name: str) -> bool:
    """True if a session has ended, or a login link has been used."""
    return stored.value(connection, _ENDED + name) is not None
