"""PostgreSQL: many writers in many processes. What its connections need, and how its outages and conflicts look.

The driver is psycopg over libpq, which reads the addresses that platforms give out with all their options (`sslmode`
and the others). Statements are READ COMMITTED; what must not happen twice at once takes a row lock first, then looks.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo
from psycopg.types.string import StrDumper
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from storage.errors import BadDatabaseUrl

DRIVER = "postgresql+psycopg"

READERS = 3
"""Connections for questions, a process, opened when they are needed. Small plans allow twenty in all."""

DEFAULTS: dict[str, str] = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
    "application_name": "hookchain",
}
"""libpq options unless the address says otherwise: a server that vanished without a word is noticed in seconds."""

IDLE_IN_TRANSACTION_S, LOCK_WAIT_S = 15, 10
"""A process that is frozen in a transaction holds its rows no longer; nobody waits for a row any longer."""

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_OUTAGE_CLASSES = ("08", "53", "57P", "58", "F0", "XX")
_OUTAGE_CODES = frozenset({"25006", "25P03", "55P03", "57014"})
_CONFLICT_CODES = frozenset({"40001", "40P01"})


def is_outage(error: BaseException | None) -> bool:
    """Whether the server as a whole refused: gone, starting, full, read-only, out of connections."""
    if not isinstance(error, psycopg.Error):
        return False
    code = error.sqlstate
    if code is None:  # libpq's own: no connection, or it broke
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return code in _OUTAGE_CODES or code.startswith(_OUTAGE_CLASSES)


def is_conflict(error: BaseException | None) -> bool:
    """Whether another transaction was in the way, and the same work may be done again at once."""
    return isinstance(error, psycopg.Error) and error.sqlstate in _CONFLICT_CODES


def parse(url: URL) -> URL:
    """The address for the driver. Raises `BadDatabaseUrl` for options that libpq does not know."""
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    for name in url.query:
        if name not in known:
            raise BadDatabaseUrl(
                f"DATABASE_URL has the option {name!r}, which PostgreSQL's libpq does not know; take it out"
            )
    return url.set(drivername=DRIVER).update_query_dict(
        {name: value for name, value in DEFAULTS.items() if name not in url.query}
    )


def write_engine(url: URL) -> Engine:
    """For one writing connection."""
    engine = create_engine(url, paramstyle="format", pool_size=1, max_overflow=0)
    _set_up(engine)
    return engine


def read_engine(url: URL) -> AsyncEngine:
    """For questions. A connection is tried before it is used: the server may have been restarted."""
    engine = create_async_engine(
        url, paramstyle="format", pool_size=READERS, max_overflow=0, pool_pre_ping=True, pool_recycle=600
    )
    _set_up(engine.sync_engine)
    return engine


def conninfo(url: URL) -> str:
    """The address as libpq reads it, for a connection beside the engines."""
    named = {"host": url.host, "port": url.port, "dbname": url.database, "user": url.username}
    given = {name: str(value) for name, value in named.items() if value is not None}
    options = {name: str(value) for name, value in url.query.items()}
    return make_conninfo("", password=url.password, **given | options)


class _Text(StrDumper):
    """PostgreSQL's text has no NUL, which JSON may have; bodies are kept as bytes, whole."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\x00", "\ufffd") if "\x00" in obj else obj)


def _set_up(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.adapters.register_dumper(str, _Text)
        cursor = connection.cursor()
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_S}s'")
        cursor.execute(f"SET lock_timeout = '{LOCK_WAIT_S}s'")
        cursor.close()
        connection.commit()


_MIGRATING = 7263543216
"""A number of ours among the advisory locks."""


def alone_to_migrate(connection: Connection) -> None:
    """Wait for whoever else migrates this database; until the transaction ends.

    A database without advisory locks (early YugabyteDB) goes on without: there one migrates at a time by hand.
    """
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATING})")
    except DBAPIError as error:
        if not isinstance(error.orig, psycopg.errors.FeatureNotSupported | psycopg.errors.UndefinedFunction):
            raise
