"""Databases are brought to this release's schema, and only ever forward."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import text
from sqlalchemy.engine import make_url

from storage.driver.postgres import Address
from storage.engine import Database, parse_url, write_engine
from storage.errors import BadDatabaseUrl, NotDurable, SchemaTooNew
from storage.events import quarantine
from storage.events.quarantine import QuarantineFilter, UnreadableBody
from storage.migrate import SCRIPTS, migrate
from storage.schema import SCHEMA, metadata
from tests.support.postgres import fresh_database


def test_the_migrations_make_the_schema(database_url: str) -> None:
    """Running them all gives the tables that the code speaks of, indexes included."""
    engine = write_engine(database_url)
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL search_path TO {SCHEMA}")
            connection.dialect.default_schema_name = SCHEMA  # where Alembic looks
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def before(tmp_path: Path, revision: str) -> Path:
    """The scripts of the release that came before a revision."""
    older = tmp_path / "older"
    shutil.copytree(SCRIPTS, older)
    for script in (older / "versions").glob("0*.py"):
        if script.name >= revision:
            script.unlink()
    return older


def test_what_is_in_quarantine_is_there_after_the_migration_and_its_id_is_not_given_again(
    tmp_path: Path,
) -> None:
    """On SQLite the table is written anew."""
    url = f"sqlite:///{tmp_path}/x.db"
    migrate(url, scripts=before(tmp_path, "0010"))
    engine = write_engine(url)
    entry = UnreadableBody(
        upstream="main",
        submission_id="",
        content_type="",
        reason="no JSON",
        body=b"\x00odd",
        received_at_ms=5,
    )
    with engine.begin() as connection:
        columns = {name: getattr(entry, name) for name in entry.__struct_fields__}
        names, marks = ", ".join(columns), ", ".join(f":{name}" for name in columns)
        for _ in range(3):
            connection.execute(text(f"INSERT INTO quarantine ({names}) VALUES ({marks})"), columns)
        old = list(connection.execute(text("SELECT id FROM quarantine ORDER BY id")).scalars())
    migrate(url)
    with engine.begin() as connection:
        assert [one.body for one in quarantine.page(connection, QuarantineFilter(), most=9)] == [
            b"\x00odd"
        ] * 3
        assert quarantine.drop(connection, old[-1])
        assert quarantine.keep(connection, entry) not in old
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
    newest = max((SCRIPTS / "versions").glob("0*.py"))
    older = before(tmp_path, newest.stem[:4])
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
    engine = write_engine(url)
    version = f"{SCHEMA}.alembic_version" if engine.dialect.name == "postgresql" else "alembic_version"
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {version} SET version_num = '9999'"))
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
    with pytest.raises(NotDurable, match=r"cannot be used: .*; the directory .*missing does not exist"):
        migrate(f"sqlite:///{tmp_path}/missing/x.db")


STRANGER = 10_001


def as_another_user(what: Callable[[], object]) -> str:
    """The message of what it raises in a child process that owns nothing."""
    receiving, sending = os.pipe()
    if (child := os.fork()) == 0:
        if os.geteuid() == 0:
            os.setgid(STRANGER)
            os.setuid(STRANGER)
        try:
            what()
        except NotDurable as error:
            os.write(sending, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(sending)
    with open(receiving, "rb") as reader:
        return reader.read().decode()


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="users and their directories are POSIX's")
def test_a_volume_of_another_user_is_told_with_its_owner() -> None:
    """As many platforms mount them: root's, while the image runs as 10001."""
    with tempfile.TemporaryDirectory() as volume:
        Path(volume).chmod(0o555)
        told = as_another_user(lambda: migrate(f"sqlite:///{volume}/hookchain.db"))
        user = STRANGER if os.geteuid() == 0 else os.geteuid()
        assert told.endswith(
            f"; the directory {volume} belongs to user {os.geteuid()}, and hookchain runs as user {user}: chown {user} it"
        )


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgres://u:secret-word@h/d?nonsense=1", "option 'nonsense'"),
        ("postgresql://u:p@secret-word:5@h/d", "%40"),
        ("postgresql://u:p@h:secret-word/d", "%40"),
    ],
)
def test_a_postgres_address_that_cannot_be_read_says_why(url: str, told: str) -> None:
    """And shows nothing that may be part of a password."""
    with pytest.raises(BadDatabaseUrl, match=re.escape(told)) as raised:
        Database(url)
    assert "secret-word" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://u:p@h/d?sslmode=require", {"sslmode": "require", "host": "h", "dbname": "d"}),
        ("postgresql://u:p%40w@h:5433/d", {"password": "p@w", "port": "5433"}),
        ("postgresql://u@one:1,two:2/d?target_session_attrs=read-write", {"host": "one,two", "port": "1,2"}),
        (
            "postgresql://u@/d?host=/run/postgres&connect_timeout=9",
            {"host": "/run/postgres", "connect_timeout": "9"},
        ),
        ("postgres://u@h/d?pgbouncer=true&sslmode=require", {"sslmode": "require"}),
        ("postgres://u@h/d?sslmode=require&pgbouncer=true", {"sslmode": "require"}),
        ("postgres://u@h/d?pgbouncer=false", {"dbname": "d"}),
        ("postgresql://u@one,two/d", {"target_session_attrs": "read-write"}),
    ],
)
def test_whatever_libpq_reads_is_an_address(url: str, expected: dict[str, str]) -> None:
    """Several hosts, sockets, TLS, escaped passwords; our own options only where it has none."""
    address = parse_url(url)
    assert isinstance(address, Address)
    found = conninfo_to_dict(address.conninfo)
    assert expected.items() <= found.items()
    assert found["client_encoding"] == "utf8"
    assert address.pooled == (
        True if "pgbouncer=true" in url else False if "pgbouncer=false" in url else None
    )


def test_a_server_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    """A composition starts everything at once; a wrong password is told at once."""
    began = time.monotonic()
    with pytest.raises(NotDurable, match=r"d at 127\.0\.0\.1 cannot be used"):
        migrate("postgres://u:secret-word@127.0.0.1:9/d", patience_s=1.5)
    assert time.monotonic() - began > 1


def test_a_database_that_does_not_exist_is_not_waited_for(postgres_server: str) -> None:
    """Waiting makes none."""
    url = make_url(postgres_server).set(database="nonsense").render_as_string(hide_password=False)
    with pytest.raises(NotDurable, match="does not exist"):
        migrate(url, patience_s=60)
