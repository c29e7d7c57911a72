"""PostgreSQL, with many writers in many processes: its connection settings, and how to recognise its outages and conflicts.

The driver is psycopg over libpq, which reads the URLs that platforms give out with all their options (`sslmode`, several
hosts). The isolation level is READ COMMITTED; work that must not happen twice at once takes a row lock first, then reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.string import StrDumper
from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.exc import DBAPIError

from storage.errors import BadDatabaseUrl, NotDurable
from storage.schema import SCHEMA, metadata

READERS = 2
"""Connections for reads per process, opened when needed. Small plans allow twenty connections in all."""

DEFAULTS = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
    "application_name": "hookchain",
    "client_encoding": "utf8",
}
"""libpq options, unless the URL sets them: with these, a server that vanished is noticed within seconds."""

SEVERAL = {"target_session_attrs": "read-write"}
"""Further options for a URL with several hosts: a standby answers too, but accepts no writes."""

IDLE_IN_TRANSACTION_S = 15
"""The longest time that a process frozen in a transaction can hold its row locks."""

LOCK_WAIT_MS = 2_000
"""How long a transaction waits for a row lock before the work is put off; far shorter than a lease."""

RANDOM_PAGE_COST = 1.1
"""The planner's cost of a page reached by an index; the next page of a table costs 1. PostgreSQL's default of 4 is for spinning
disks, and makes it scan a whole table where an index leads to one row in a hundred."""

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_OUTAGE_CLASSES = ("08", "53", "57P", "58", "F0", "XX")
_OUTAGE_CODES = frozenset({"25006", "25P03", "57014"})
_CONFLICT_CODES = frozenset({"40001", "40P01"})
_LOCK_WAIT = "55P03"
_HOPELESS = (
    "authentication failed",
    "does not exist",
    "no pg_hba.conf entry",
    "certificate",
    "startup parameter",
)


class Address(msgspec.Struct, frozen=True):
    """The address of a server, as libpq reads it.

    `pooled`: the address leads to a pooler such as PgBouncer, where each transaction may get another server connection, and
    no session state survives it. If it is None, each connection is tested: `is_pooled`.
    """

    conninfo: str
    pooled: bool | None = None

    @property
    def shown(self) -> str:
        """The database's name and host, for messages."""
        known = conninfo_to_dict(self.conninfo)
        return f"{known.get('dbname', '')} at {known.get('host') or known.get('hostaddr') or 'this machine'}"


def parse(url: str) -> Address:
    """Parse a URL as platforms give it out. Raises `BadDatabaseUrl`, whose message shows nothing that may be secret."""
    pooler_option = re.search(r"[?&]pgbouncer=(true|false)(?=&|$)", url)
    plain = url.replace(pooler_option[0], "", 1) if pooler_option else url
    if pooler_option and pooler_option[0].startswith("?"):
        plain = plain.replace("&", "?", 1)
    plain = re.sub(r"^postgresql\+psycopg://", "postgresql://", plain).rstrip("?&")
    try:
        given = conninfo_to_dict(plain)
        # libpq's own message would quote the wrong port, which may be part of a password.
        if not re.fullmatch(r"[0-9,]*", str(given.get("port") or "")):
            raise psycopg.ProgrammingError
        defaults = DEFAULTS | (SEVERAL if "," in f"{given.get('host')}{given.get('hostaddr')}" else {})
        conninfo = make_conninfo(plain, **{k: v for k, v in defaults.items() if k not in given})
        return Address(conninfo, pooler_option[1] == "true" if pooler_option else None)
    except psycopg.Error as error:
        option = re.search(r'invalid URI query parameter: "(\w+)"', str(error))
        why = (
            f"has the option {option[1]!r}, which PostgreSQL's libpq does not know; remove it"
            if option
            else "is malformed: write postgresql://user:password@host:5432/name, with @ : / in the password as %40 %3A %2F"
        )
        raise BadDatabaseUrl(f"DATABASE_URL {why}") from None


def is_outage(error: BaseException | None) -> bool:
    """True if the server as a whole failed: gone, starting, full, read-only, out of connections."""
    if not isinstance(error, psycopg.Error):
        return False
    code = error.sqlstate
    if code is None:  # libpq's own errors: no connection, or it broke
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return code in _OUTAGE_CODES or code.startswith(_OUTAGE_CLASSES)


def is_hopeless(error: BaseException | None) -> bool:
    """True if waiting will not make the connection possible: a wrong password, an unknown database."""
    return any(text in str(error) for text in _HOPELESS)


def is_conflict(error: BaseException | None) -> bool:
    """True if the work conflicted with another transaction, and can be repeated at once."""
    return isinstance(error, psycopg.Error) and error.sqlstate in _CONFLICT_CODES


def is_lock_wait(error: BaseException | None) -> bool:
    """True if the wait for a row lock timed out, so that the work should be put off."""
    return isinstance(error, psycopg.Error) and error.sqlstate == _LOCK_WAIT


def commit(connection: Connection) -> None:
    """Commit. Raises `NotDurable` if PostgreSQL committed, but warns that its standby may not have the commit.

    This happens when the wait for a synchronous standby is cancelled: PostgreSQL reports success with a warning, and a failover
    would lose the commit (https://www.postgresql.org/docs/current/warm-standby.html#SYNCHRONOUS-REPLICATION-HA). Any warning
    counts, because its text is in the server's language, and a commit gives no other warning.
    """
    warnings: list[str] = []

    def note(notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            warnings.append(notice.message_primary or "")

    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    driver.add_notice_handler(note)
    try:
        connection.commit()
    finally:
        driver.remove_notice_handler(note)
    if warnings:
        raise NotDurable(f"the database committed with a warning: {warnings[0]}")


SERVER_PID = "SELECT pg_backend_pid()"
"""Returns the number of the server process that answers."""


def is_pooled(address: Address, connection: psycopg.BaseConnection[Any], server_pid: int) -> bool:
    """True if a pooler is in between: poolers give a new connection an invented number, which differs from the answer to
    `SERVER_PID`."""
    return connection.info.backend_pid != server_pid if address.pooled is None else address.pooled


def _connect(address: Address) -> psycopg.Connection[Any]:
    connection = psycopg.connect(address.conninfo, autocommit=True)
    try:
        connection.adapters.register_dumper(str, _Text)
        (server_pid,) = connection.execute(SERVER_PID).fetchone() or (0,)
        if is_pooled(address, connection, server_pid):
            connection.prepare_threshold = None
        connection.autocommit = False
    except BaseException:
        connection.close()
        raise
    return connection


def _may_keep_settings(connection: psycopg.Connection[Any]) -> bool:
    """True if the next transaction has the same server process, which prepared statements need too."""
    return connection.prepare_threshold is not None


def write_engine(address: Address, *, lock_wait_ms: int = LOCK_WAIT_MS) -> Engine:
    """An engine for one writing connection."""
    return _engine(address, partial(_writing_settings, lock_wait_ms), pool_size=1)


def read_engine(address: Address, *, connections: int = READERS) -> Engine:
    """An engine for reads in threads. A connection is checked before it is used: the server may have been restarted."""
    return _engine(address, _reading_settings, pool_size=connections, pool_pre_ping=True, pool_recycle=600)


def _engine(address: Address, settings: Callable[[bool], bytes], **pool: Any) -> Engine:
    """An engine whose connections have these settings; behind a pooler they are set in each transaction instead."""

    def connect() -> psycopg.Connection[Any]:
        connection = _connect(address)
        try:
            if _may_keep_settings(connection):
                connection.execute(settings(False))
                connection.commit()
        except BaseException:
            connection.close()
            raise
        return connection

    engine = create_engine(
        "postgresql+psycopg://",
        creator=connect,
        paramstyle="format",
        isolation_level="READ COMMITTED",
        max_overflow=0,
        **pool,
    )

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        if not _may_keep_settings(driver):
            driver.execute(settings(True))

    return _naming_the_schema(engine)


def _naming_the_schema(engine: Engine) -> Engine:
    """Make compiled statements name the schema of their tables, which costs nothing at execution.

    A schema_translate_map would edit the text at each execution; connection poolers lose or refuse a search_path.
    """
    engine.dialect.identifier_preparer.schema_for_object = _schema_of
    return engine


def _schema_of(named: object) -> str:
    return SCHEMA if isinstance(named, Table) and named.metadata is metadata else ""


def _reading_settings(local: bool) -> bytes:
    return f"SELECT set_config('random_page_cost', '{RANDOM_PAGE_COST}', {local})".encode()


def _writing_settings(lock_wait_ms: int, local: bool) -> bytes:
    """Settings that make a commit reach the server's disk whatever its default, and that limit how long a row lock is held
    or waited for."""
    return (
        f"SELECT set_config('random_page_cost', '{RANDOM_PAGE_COST}', {local}), set_config('idle_in_transaction_session_timeout', '{IDLE_IN_TRANSACTION_S}s', {local}),"
        f" set_config('lock_timeout', '{lock_wait_ms}ms', {local}), set_config('synchronous_commit',"
        f" replace(current_setting('synchronous_commit'), 'off', 'on'), {local})"
    ).encode()


class _Text(StrDumper):
    """Replaces NUL, which PostgreSQL's text cannot hold but JSON can; bodies are stored unchanged, as bytes."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\x00", "\ufffd") if "\x00" in obj else obj)


_MIGRATING = 7263543216
"""Our number for an advisory lock of the database, above the 32 bits that programs hash names to. Release 0.1.0 takes the same
lock, so that it cannot start while its tables are moved."""


def alone_to_migrate(connection: Connection) -> None:
    """Wait until no other process migrates this database, and keep others out until the transaction ends.

    On a database without advisory locks (early YugabyteDB) it does nothing: there, only one process may migrate at a time.
    """
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATING})")
    except DBAPIError as error:
        if not isinstance(error.orig, psycopg.errors.FeatureNotSupported | psycopg.errors.UndefinedFunction):
            raise
