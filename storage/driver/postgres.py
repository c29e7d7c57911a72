"""PostgreSQL, with many writers in many processes: its addresses and its connection settings.

Nothing imports this module, and so psycopg, before an address of PostgreSQL is parsed (storage/engine.py).

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

from storage.driver.listen import Announcer
from storage.driver.poolers import SERVER_PID, is_pooled
from storage.driver.wakeups import Wakeups
from storage.errors import BadDatabaseUrl
from storage.schema import SCHEMA, metadata

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

    def write_engine(self, *, lock_wait_ms: int = LOCK_WAIT_MS) -> Engine:
        """An engine for one writing connection."""
        return _engine(self, partial(_writing_settings, lock_wait_ms), pool_size=1)

    def read_engine(self, *, connections: int) -> Engine:
        """An engine for reads in threads. A connection is checked before it is used: the server may have been restarted."""
        return _engine(self, _reading_settings, pool_size=connections, pool_pre_ping=True, pool_recycle=600)

    def announcer(self, wakeups: Wakeups) -> Announcer:
        """What passes wake-ups on to other processes, and receives theirs."""
        return Announcer(self.conninfo, self.pooled, wakeups)


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


def _connect(address: Address) -> psycopg.Connection[Any]:
    connection = psycopg.connect(address.conninfo, autocommit=True)
    try:
        connection.adapters.register_dumper(str, _Text)
        (server_pid,) = connection.execute(SERVER_PID).fetchone() or (0,)
        if is_pooled(address.pooled, connection, server_pid):
            connection.prepare_threshold = None
        connection.autocommit = False
    except BaseException:
        connection.close()
        raise
    return connection


def _may_keep_settings(connection: psycopg.Connection[Any]) -> bool:
    """True if the next transaction has the same server process, which prepared statements need too."""
    return connection.prepare_threshold is not None


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
