"""A PostgreSQL tells a database from a copy of it, however the copy was put back; SQLite has a file for that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection

from storage import settings
from storage.driver import server_identity
from storage.driver.postgres import parse
from storage.engine import Database
from storage.migrate import migrate
from storage.schema import SCHEMA
from storage.upstreams import restores, standings
from tests.support import postgres
from tests.support.copies import PostgresCopies
from tests.support.staged import stage, wanted

NOW_MS = 1_796_000_000_000


@pytest.fixture
def url(postgres_server: str) -> Iterator[str]:
    with postgres.fresh_database(postgres_server) as fresh:
        migrate(fresh)
        yield fresh


def identity_at(url: str) -> str:
    """What identifies the database now."""
    engine = parse(url).write_engine()
    with engine.begin() as connection:
        found = server_identity.identity(connection)
    engine.dispose()
    return found


def test_a_database_stays_what_it_is(url: str) -> None:
    assert identity_at(url) == identity_at(url) != ""


def test_a_copy_inside_the_server_is_another(url: str, postgres_server: str) -> None:
    before, copies = identity_at(url), PostgresCopies(postgres_server, url)
    copies.make()
    copies.put_back()
    copies.drop()
    assert identity_at(url) != before


def test_tables_that_a_dump_made_are_others(url: str) -> None:
    before = identity_at(url)
    with psycopg.connect(url) as connection:
        connection.execute(f"DROP SCHEMA {SCHEMA} CASCADE".encode())
    migrate(url)
    assert identity_at(url) != before


async def test_sqlite_has_none(new_database: Path) -> None:
    database = Database(f"sqlite:///{new_database}/hookchain.db")
    await database.open()
    assert await database.read(server_identity.identity) == ""
    await database.close()


@pytest.mark.parametrize(
    ("before", "is_used", "is_checked"),
    [
        pytest.param("another", True, True, id="a copy"),
        pytest.param("another", False, False, id="a copy that has submitted nothing"),
        pytest.param(None, True, False, id="never compared before"),
    ],
)
async def test_a_copy_is_checked_once(
    postgres_url: str, before: str | None, is_used: bool, is_checked: bool
) -> None:
    """The upstream is paused until it is known what was submitted there."""
    database = Database(postgres_url)
    await database.open()

    def arrange(connection: Connection) -> None:
        standings.add(connection, ["main"])
        if before is not None:
            settings.keep(connection, "server", before)
        if is_used:
            stage(connection, wanted("a cat"))

    await database.write("arrange", arrange)
    assert await database.write("compare", compared) is is_checked
    await database.write("drop", lambda connection: settings.forget(connection, "restored:main"))
    assert not await database.write("compare", compared)
    await database.close()


def compared(connection: Connection) -> bool:
    """Compare, and return whether a check of the upstream goes on."""
    restores.compare_server(connection, ["main"], NOW_MS)
    return restores.find(connection, "main") is not None
