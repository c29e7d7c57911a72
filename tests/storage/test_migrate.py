"""Databases are brought to this release's schema, and only ever forward."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from storage.engine import Database, parse_url
from storage.errors import BadDatabaseUrl, NotDurable, SchemaTooNew
from storage.migrate import SCRIPTS, migrate
from storage.schema import metadata
from tests.postgres import fresh_database


def test_the_migrations_make_the_schema(database_url: str) -> None:
    """Running them all gives the tables that the code speaks of, indexes included."""
    engine = create_engine(parse_url(database_url))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of either kind that nobody has migrated."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/x.db"
        return
    with fresh_database(request.getfixturevalue("postgres_server")) as url:
        yield url


def test_migrating_twice_at_once_is_safe(new_url: str) -> None:
    """Two releases start together: both find the schema done."""
    url = new_url
    revisions: list[str] = []
    threads = [threading.Thread(target=lambda: revisions.append(migrate(url))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(revisions) == 3
    assert len(set(revisions)) == 1


def test_two_releases_that_migrate_at_once_leave_the_newer_schema(new_url: str, tmp_path: Path) -> None:
    """The older one is done first, or is told that it is too old; never is anything half done."""
    older = tmp_path / "older"
    shutil.copytree(SCRIPTS, older)
    newest = max((older / "versions").glob("0*.py"))
    newest.unlink()
    ended: list[str] = []

    def run(scripts: Path) -> None:
        try:
            ended.append(migrate(new_url, scripts=scripts))
        except SchemaTooNew:
            ended.append("too new")

    run(older)
    threads = [threading.Thread(target=run, args=(scripts,)) for scripts in (SCRIPTS, older, SCRIPTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert migrate(new_url) == newest.stem[:4]
    assert ended[0] < newest.stem[:4]


def test_a_database_of_a_newer_release_is_refused(new_url: str) -> None:
    """Its tables may mean something else."""
    url = new_url
    migrate(url)
    engine = create_engine(parse_url(url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(SchemaTooNew, match="9999"):
        migrate(url)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://x/y",
        "nonsense",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://u:secret-word@h/d",
        "oracle:secret-word",
    ],
)
def test_an_address_that_cannot_be_used_says_what_to_write(url: str) -> None:
    """And never shows a password."""
    with pytest.raises(BadDatabaseUrl, match="sqlite:///path") as raised:
        Database(url)
    assert "secret-word" not in str(raised.value)


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    """A directory that is not there."""
    with pytest.raises(NotDurable, match="cannot be used"):
        migrate(f"sqlite:///{tmp_path}/missing/x.db")
