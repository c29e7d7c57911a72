"""A database with 200,000 rows, made once for all tests that look at plans; each leaves it as it found it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine

from storage.engine import write_engine
from storage.migrate import migrate
from tests.support import many_rows, postgres


@pytest.fixture(scope="session")
def large_file(tmp_path_factory: pytest.TempPathFactory, new_file: Path) -> Iterator[Engine]:
    """The SQLite one. It has no statistics: hookchain gathers none (docs/decisions/0032)."""
    path = tmp_path_factory.mktemp("large") / "hookchain.db"
    shutil.copy(new_file, path)
    engine = write_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        many_rows.fill(connection)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def large_postgres(postgres_server: str) -> Iterator[Engine]:
    """The PostgreSQL one, with statistics as its autovacuum gathers them."""
    with postgres.fresh_database(postgres_server) as url:
        migrate(url)
        engine = write_engine(url)
        with engine.begin() as connection:
            many_rows.fill(connection)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
        yield engine
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def large(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A connection to a large database of either kind, in a transaction that is rolled back."""
    engine: Engine = request.getfixturevalue(f"large_{'file' if request.param == 'sqlite' else 'postgres'}")
    with engine.connect() as connection:
        yield connection
        connection.rollback()
