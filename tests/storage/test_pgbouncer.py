"""Through PgBouncer in transaction mode nothing outlives a transaction, and storage works as it does without."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import Connection, text

from storage.engine import Database
from storage.errors import NotDurable
from storage.migrate import migrate
from tests.conftest import REPOSITORY
from tests.support import pgbouncer, postgres
from tests.support.program import program

pytestmark = pytest.mark.process

PART = "tests/storage/test_many_writers.py"
PARTS = [PART, pytest.param("tests/storage", marks=pytest.mark.soak)]


@pytest.fixture(scope="module")
def url(postgres_itself: str) -> Iterator[str]:
    """A database of this release behind PgBouncer; the address does not say so."""
    with postgres.fresh_database(postgres_itself) as direct, pgbouncer.running(direct) as url:
        migrate(url)
        yield url


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """Open, through PgBouncer."""
    opened = Database(url)
    await opened.open()
    yield opened
    await opened.close()


def limits(connection: Connection) -> tuple[str, ...]:
    """How long this transaction may wait, and be idle."""
    names = ("lock_timeout", "idle_in_transaction_session_timeout")
    return tuple(connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in names)


async def test_limits_hold_in_our_transactions_and_are_left_to_nobody(database: Database, url: str) -> None:
    """A pooler hands its connections on to other programs."""
    for _ in range(10):
        assert await database.write("look", limits) == ("2s", "15s")
    with postgres.connect(url, autocommit=True) as other:
        for _ in range(10):
            assert other.execute("SHOW lock_timeout").fetchone() == ("0",)


async def test_nothing_is_prepared(database: Database) -> None:
    """The next transaction may have another connection, which knows nothing of it."""

    def ask(connection: Connection) -> object:
        return connection.execute(
            text("SELECT :one + count(*) FROM pg_prepared_statements"), {"one": 1}
        ).scalar()

    for _ in range(10):
        assert await database.write("ask", ask) == await database.read(ask) == await database.look(ask) == 1


def test_an_address_with_options_is_refused_at_once(url: str) -> None:
    """PgBouncer takes none; waiting for it does not help."""
    with pytest.raises(NotDurable, match="startup parameter"):
        migrate(f"{url}?options=-csearch_path%3Dpublic", patience_s=60)


@pytest.mark.parametrize("part", PARTS)
def test_the_tests_of_storage_pass_through_it(part: str, postgres_itself: str) -> None:
    """As they are, on a server that they reach through PgBouncer."""
    program("pgbouncer")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "--no-cov", "--deselect", f"{__file__}", part],
        cwd=REPOSITORY,
        env=os.environ | {"TEST_PGBOUNCER": "1", "TEST_DATABASE_URL": postgres_itself},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-6000:]
