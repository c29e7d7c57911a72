"""PostgreSQL: many writers in many processes. What its connections need, and how its outages and conflicts look.

The driver is psycopg over libpq, which reads the addresses that platforms give out with all their options (`sslmode`,
several hosts). Statements are READ COMMITTED; what must not happen twice at once takes a row lock first, then looks.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.string import StrDumper
from sqlalchemy import Connection, Engine, Table, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from storage.errors import BadDatabaseUrl
from storage.schema import SCHEMA, metadata

READERS = 2
"""Connections for questions, a process, opened when they are needed. Small plans allow twenty in all."""

DEFAULTS = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
    "application_name": "hookchain",
    "client_encoding": "utf8",
}
"""libpq options unless the address says otherwise: a server that vanished without a word is noticed in seconds."""

IDLE_IN_TRANSACTION_S = 15
"""A process that is frozen in a transaction holds its rows no longer."""

LOCK_WAIT_MS = 2_000
"""How long anybody waits for a row before what it waited for is tried later; far less than a lease lasts."""

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_OUTAGE_CLASSES = ("08", "53", "57P", "58", "F0", "XX")
_OUTAGE_CODES = frozenset({"25006", "25P03", "57014"})
_CONFLICT_CODES = frozenset({"40001", "40P01"})
_LOCK_WAIT = "55P03"
_HOPELESS = ("authentication failed", "does not exist", "no pg_hba.conf entry", "certificate")


class Address(msgspec.Struct, frozen=True):
    """Where a server is, as libpq reads it. `pooled`: behind PgBouncer per transaction, where nothing outlives one."""

    conninfo: str
    pooled: bool = False

    @property
    def shown(self) -> str:
        """Host and name, for people."""
        known = conninfo_to_dict(self.conninfo)
        return f"{known.get('dbname', '')} at {known.get('host') or known.get('hostaddr') or 'this machine'}"


def parse(url: str) -> Address:
    """An address as platforms give it out. Raises `BadDatabaseUrl`, which shows nothing that may be secret."""
    plain, pooled = re.subn(r"([?&])pgbouncer=true(&|$)", lambda found: found[1] if found[2] else "", url)
    plain = re.sub(r"^postgresql\+psycopg://", "postgresql://", plain).rstrip("?&")
    try:
        given = conninfo_to_dict(plain)
        if not re.fullmatch(
            r"[0-9,]*", str(given.get("port") or "")
        ):  # libpq would say it with what it found there
            raise psycopg.ProgrammingError
        return Address(
            make_conninfo(plain, **{k: v for k, v in DEFAULTS.items() if k not in given}), bool(pooled)
        )
    except psycopg.Error as error:
        option = re.search(r'invalid URI query parameter: "(\w+)"', str(error))
        why = (
            f"has the option {option[1]!r}, which PostgreSQL's libpq does not know; take it out"
            if option
            else "cannot be read: write postgresql://user:password@host:5432/name, with @ : / in the password as %40 %3A %2F"
        )
        raise BadDatabaseUrl(f"DATABASE_URL {why}") from None


def is_outage(error: BaseException | None) -> bool:
    """Whether the server as a whole refused: gone, starting, full, read-only, out of connections."""
    if not isinstance(error, psycopg.Error):
        return False
    code = error.sqlstate
    if code is None:  # libpq's own: no connection, or it broke
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return code in _OUTAGE_CODES or code.startswith(_OUTAGE_CLASSES)


def is_hopeless(error: BaseException | None) -> bool:
    """Whether waiting will not help a connection: a wrong password, no such database."""
    return any(told in str(error) for told in _HOPELESS)


def is_conflict(error: BaseException | None) -> bool:
    """Whether another transaction was in the way, and the same work may be done again at once."""
    return isinstance(error, psycopg.Error) and error.sqlstate in _CONFLICT_CODES


def is_lock_wait(error: BaseException | None) -> bool:
    """Whether somebody held a row for so long that the work should be done later."""
    return isinstance(error, psycopg.Error) and error.sqlstate == _LOCK_WAIT


def write_engine(address: Address, *, lock_wait_ms: int = LOCK_WAIT_MS) -> Engine:
    """For one writing connection."""

    def connect() -> psycopg.Connection[Any]:
        connection = psycopg.connect(address.conninfo, prepare_threshold=None if address.pooled else 5)
        connection.adapters.register_dumper(str, _Text)
        if not address.pooled:
            connection.execute(_session(lock_wait_ms))
            connection.commit()
        return connection

    engine = create_engine(
        "postgresql+psycopg://",
        creator=connect,
        paramstyle="format",
        isolation_level="READ COMMITTED",
        pool_size=1,
        max_overflow=0,
    )
    return _naming_the_schema(engine)


def read_engine(address: Address) -> AsyncEngine:
    """For questions. A connection is tried before it is used: the server may have been restarted."""

    async def connect() -> psycopg.AsyncConnection[Any]:
        connection = await psycopg.AsyncConnection.connect(
            address.conninfo, prepare_threshold=None if address.pooled else 5
        )
        connection.adapters.register_dumper(str, _Text)
        return connection

    engine = create_async_engine(
        "postgresql+psycopg://",
        async_creator=connect,
        paramstyle="format",
        isolation_level="READ COMMITTED",
        pool_size=READERS,
        max_overflow=0,
        pool_pre_ping=True,
        pool_recycle=600,
    )
    _naming_the_schema(engine.sync_engine)
    return engine


def look_engine(address: Address) -> Engine:
    """For questions that a thread asks, on one connection."""

    def connect() -> psycopg.Connection[Any]:
        connection = psycopg.connect(address.conninfo, prepare_threshold=None if address.pooled else 5)
        connection.adapters.register_dumper(str, _Text)
        return connection

    engine = create_engine(
        "postgresql+psycopg://",
        creator=connect,
        paramstyle="format",
        isolation_level="READ COMMITTED",
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,
        pool_recycle=600,
    )
    return _naming_the_schema(engine)


def _naming_the_schema(engine: Engine) -> Engine:
    """Have statements name the schema of their tables when they are compiled, which costs nothing when they are run.

    A schema_translate_map would edit the text at each execution; a search_path is lost or refused by connection poolers.
    """
    engine.dialect.identifier_preparer.schema_for_object = _schema_of
    return engine


def _schema_of(named: object) -> str:
    return SCHEMA if isinstance(named, Table) and named.metadata is metadata else ""


def _session(lock_wait_ms: int) -> bytes:
    """Answered means on the server's disk, whatever it does by default; nobody holds a row, or waits for it, for long."""
    return (
        f"SELECT set_config('idle_in_transaction_session_timeout', '{IDLE_IN_TRANSACTION_S}s', false),"
        f" set_config('lock_timeout', '{lock_wait_ms}ms', false);"
        " SELECT set_config(name, 'on', false) FROM pg_settings WHERE name = 'synchronous_commit' AND setting = 'off'"
    ).encode()


class _Text(StrDumper):
    """PostgreSQL's text has no NUL, which JSON may have; bodies are kept as bytes, whole."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\x00", "\ufffd") if "\x00" in obj else obj)


_MIGRATING = 7263543216
"""A number of ours among the advisory locks of a database, above the 32 bits that programs hash names to. Release 0.1.0
takes the same one: it must not start while its tables are moved."""


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
