"""On a PostgreSQL that other programs use, ours keeps to its own schema; what release 0.1.0 left elsewhere moves there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError

from midjourney.decode import decode_task
from storage.engine import Connection, Database, write_engine
from storage.errors import CannotMove, MissingRight
from storage.events import quarantine
from storage.events.quarantine import UnreadableBody
from storage.ingest import ingest
from storage.migrate import migrate
from storage.records import Incoming, StageResult
from storage.schema import SCHEMA, metadata
from tests.conftest import PATIENCE_S, REPOSITORY
from tests.support import command, postgres, released
from tests.support.postgres import fresh_database
from tests.support.staged import stage, wanted

OURS = {table.name for table in metadata.sorted_tables} | {"alembic_version"}

FOREIGN = """
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('{revision}');
CREATE TABLE tasks (id bigserial PRIMARY KEY, platform text);
CREATE TABLE events (id uuid PRIMARY KEY, name text);
CREATE TABLE meta (id int PRIMARY KEY, body jsonb);
CREATE TABLE submissions (id int PRIMARY KEY, state text, reason text);
CREATE TABLE leases (id int PRIMARY KEY, until_ms bigint, name text);
CREATE INDEX tasks_by_age ON tasks (id);
INSERT INTO tasks (platform) VALUES ('suno');
INSERT INTO leases VALUES (1, 9999999999999, 'worker:theirs')
"""
"""Another program: its own Alembic, and tables with names of ours."""


@pytest.fixture
def url(request: pytest.FixtureRequest, postgres_itself: str, postgres_server: str) -> Iterator[str]:
    """A database without any tables."""
    unpooled = request.node.get_closest_marker("unpooled")
    with fresh_database(postgres_itself if unpooled else postgres_server) as fresh:
        yield fresh


def run(url: str, *statements: str) -> list[Any]:
    """The rows that the last statement gives."""
    with postgres.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def tables(url: str, schema: str) -> set[str]:
    found = run(url, f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'")
    return {name for (name,) in found}


async def works(url: str) -> bool:
    """Whether a callback can be kept and found."""
    database = Database(url)
    await database.open()
    task = decode_task(json.dumps({"id": "1", "status": "SUCCESS"}).encode())
    kept = await database.append(
        Incoming(upstream="main", task=task, submission_id="", source="callback", received_at_ms=1)
    )
    await database.close()
    return kept.change is not None


@pytest.mark.parametrize("revision", ["0007", "0010", "4a1b2c3d"])
@pytest.mark.parametrize("first", ["they", "we"])
async def test_two_programs_share_a_database(url: str, first: str, revision: str) -> None:
    """In either order, also where both use Alembic and are at a revision of the same name: neither sees the other."""
    if first == "we":
        migrate(url)
    run(url, FOREIGN.format(revision=revision))
    assert migrate(url) == migrate(url)
    assert await works(url)
    assert tables(url, SCHEMA) == OURS
    assert tables(url, "public") == {
        "alembic_version",
        "tasks",
        "events",
        "meta",
        "submissions",
        "leases",
    }
    assert run(url, "SELECT version_num FROM alembic_version") == [(revision,)]
    assert run(url, "INSERT INTO tasks (platform) VALUES ('luma')", "SELECT id FROM tasks") == [(1,), (2,)]


def test_a_role_named_like_us_shares_its_database_too(url: str, postgres_server: str) -> None:
    """PostgreSQL looks for tables in a schema of the role's name first; another program of that role finds its own."""
    role = "hookchain"
    run(postgres_server, f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    try:
        run(
            url,
            f"GRANT ALL ON DATABASE {make_url(url).database} TO {role}",
            f"GRANT ALL ON SCHEMA public TO {role}",
        )
        as_role = make_url(url).set(username=role, password="x").render_as_string(hide_password=False)
        run(as_role, FOREIGN.format(revision="0007"))
        migrate(as_role)
        assert run(as_role, "SELECT platform FROM tasks") == [("suno",)]
    finally:
        run(url, f"DROP OWNED BY {role}")
        run(postgres_server, f"DROP ROLE {role}")


async def test_the_tables_of_0_1_0_move_and_leave_their_neighbours(url: str) -> None:
    """A table of another program's that has a name of ours stays, and an index with one too."""
    released.make_revision(url, "0005")
    run(
        url,
        "CREATE TABLE leases (id int PRIMARY KEY, until_ms bigint, name text)",
        "CREATE TABLE users (id int)",
    )
    migrate(url)
    assert tables(url, SCHEMA) == OURS
    assert tables(url, "public") == {"leases", "users"}
    assert await works(url)


@pytest.mark.parametrize("revision", ["0001", "0003", "0006", "0009"])
async def test_an_older_database_moves_and_is_brought_up_to_date(url: str, revision: str) -> None:
    """Whatever revision of release 0.1.0 it was at."""
    released.make_revision(url, revision)
    migrate(url)
    assert (tables(url, SCHEMA), tables(url, "public")) == (OURS, set())
    assert await works(url)


@pytest.mark.unpooled  # PgBouncer takes no options
async def test_tables_move_from_whichever_schema_the_connection_used(url: str) -> None:
    """Release 0.1.0 followed the search_path of its role."""
    run(url, 'CREATE SCHEMA "of Ours"', FOREIGN.format(revision="0007"))
    released.make_revision(url, "0010", '"of Ours"')
    elsewhere = f"{url}&options=-csearch_path%3D%22of%5C%20Ours%22"
    migrate(elsewhere)
    assert (tables(url, SCHEMA), tables(url, "of Ours"), len(tables(url, "public"))) == (OURS, set(), 6)
    assert await works(elsewhere)


def test_what_0_1_0_kept_is_there_after_the_move(url: str) -> None:
    """Rows, states, revision; a key that was used refuses a second submission; ids count on."""
    released.load_postgres(url)
    migrate(url)
    assert run(url, f"SELECT version_num FROM {SCHEMA}.alembic_version") == [("0027",)]
    states = run(url, f"SELECT idempotency_key, state FROM {SCHEMA}.submissions")
    assert dict(states) == {
        "accepted": "accepted",
        "uncertain": "uncertain",
        "dead": "dead",
        "waiting": "waiting",
        "waiting too": "waiting",
    }
    keys_refuse_and_ids_count_on(url)


def test_a_file_of_0_1_0_goes_on(tmp_path: Any) -> None:
    """SQLite keeps its plain names; the file is read as it is."""
    released.load_sqlite(tmp_path / "x.db")
    url = f"sqlite:///{tmp_path}/x.db"
    assert migrate(url) >= "0010"
    keys_refuse_and_ids_count_on(url)


def keys_refuse_and_ids_count_on(url: str) -> None:
    engine = write_engine(url)

    def again(connection: Connection, key: str) -> StageResult:
        return stage(connection, wanted(key), 9)

    with engine.begin() as connection:
        for key in ("accepted", "waiting", "uncertain", "dead", "spent"):
            assert not again(connection, key).created, key
        assert again(connection, "another").created
        task = decode_task(json.dumps({"id": "2", "status": "SUCCESS"}).encode())
        came = Incoming(upstream="main", task=task, submission_id="", source="callback", received_at_ms=1)
        ingest(connection, [came], {"task.succeeded"})
        newest = connection.execute(
            metadata.tables["events"].select().order_by(metadata.tables["events"].c.id)
        ).all()
        assert [row.id for row in newest] == [1, 2, 3, 4, 5, 6]
        entry = UnreadableBody(
            upstream="main", submission_id="", content_type="", reason="", body=b"?", received_at_ms=5
        )
        assert quarantine.keep(connection, entry) == 4  # the third was dropped
    engine.dispose()


def test_a_live_worker_of_0_1_0_holds_the_move_back(url: str, tmp_path: Path) -> None:
    """Nothing is moved until its lease has lapsed by the database's clock; then everything is."""
    released.load_postgres(url)
    now_ms = "extract(epoch FROM clock_timestamp()) * 1000"
    run(url, f"UPDATE leases SET until_ms = {now_ms} + 60000 WHERE name = 'worker:w1'")
    before = tables(url, "public")
    refused = command.run(tmp_path, "migrate", DATABASE_URL=url)
    assert refused.returncode == 1
    assert refused.stderr == (
        "hookchain: a worker of hookchain 0.1.0 is running on this database: stop all processes of that release, those that "
        "only receive callbacks too, and start again 10 s later\n"
    )
    assert (tables(url, "public"), tables(url, SCHEMA)) == (before, set())
    run(url, f"UPDATE leases SET until_ms = {now_ms} - 1 WHERE name = 'worker:w1'")
    migrate(url)
    assert (tables(url, "public"), tables(url, SCHEMA)) == (set(), OURS)


def test_0_1_0_cannot_start_over_after_the_move(url: str) -> None:
    """It would pay for everything again. Another program that comes later with Alembic and its own tables is let be."""
    released.load_postgres(url)
    migrate(url)
    with pytest.raises(ProgrammingError, match='relation "one_submission_per_intent" already exists'):
        released.make_revision(url, "0010")
    assert tables(url, "public") == set()
    run(url, FOREIGN.format(revision="0007"))
    assert migrate(url) >= "0010"


async def test_the_documented_way_back_leads_to_0_1_0(url: str) -> None:
    """The statements of docs/upgrading.md; the tables are recognised again afterwards."""
    released.load_postgres(url)
    migrate(url)
    page = (REPOSITORY / "docs" / "upgrading.md").read_text()
    back = re.search(r"```sql\n(.*?)```", page, re.DOTALL)
    assert back is not None
    run(url, back[1])
    of_0_1_0 = OURS - {
        "aliases",
        "approvals",
        "blob_pieces",
        "blob_uses",
        "blobs",
        "budgets",
        "chain_stores",
        "client_keys",
        "joins",
        "refusals",
        "seeds",
        "tickets",
        "timetable",
    }
    assert (tables(url, "public"), tables(url, SCHEMA)) == (of_0_1_0, set())
    assert run(url, "SELECT version_num FROM alembic_version") == [("0010",)]
    migrate(url)
    assert await works(url)


def test_the_documented_way_back_of_a_file_leads_to_0_1_0(tmp_path: Any) -> None:
    """The statements of docs/upgrading.md: the file is as 0.1.0 made it, and may go forward again."""
    file = tmp_path / "x.db"
    released.load_sqlite(file)
    with contextlib.closing(sqlite3.connect(file)) as connection:
        before = connection.execute("SELECT name FROM sqlite_schema ORDER BY name").fetchall()
    migrate(f"sqlite:///{file}")
    page = (REPOSITORY / "docs" / "upgrading.md").read_text()
    back = re.search(r"```sqlite\n(.*?)```", page, re.DOTALL)
    assert back is not None
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.executescript(back[1])
        after = connection.execute("SELECT name FROM sqlite_schema ORDER BY name").fetchall()
    assert set(after) >= set(before)
    assert {name for (name,) in after} & {"aliases", "budgets", "refusals", "tasks_to_ask"} == set()
    assert migrate(f"sqlite:///{file}") == "0027"


def test_nothing_is_left_in_public_where_0_1_0_never_was(url: str) -> None:
    """No fence is needed there."""
    migrate(url)
    run(url, "CREATE TABLE one_submission_per_intent (id int)")


def test_two_processes_that_migrate_at_once_move_the_tables_once(url: str, tmp_path: Path) -> None:
    """The second one waits, and finds it done."""
    released.load_postgres(url)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "DATABASE_URL": url}
    started = [
        subprocess.Popen([sys.executable, "-m", "hookchain", "migrate"], cwd=tmp_path, env=environment)
        for _ in range(2)
    ]
    assert [process.wait(PATIENCE_S) for process in started] == [0, 0]
    assert tables(url, "public") == set()
    assert run(url, f"SELECT count(*) FROM {SCHEMA}.submissions") == [(5,)]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE alembic_version SET version_num = 'e5f6'", "says e5f6"),
        ("DELETE FROM alembic_version", "is missing or empty"),
        ("DROP TABLE alembic_version", "is missing or empty"),
        ("DROP TABLE attempts", "attempts is missing there"),
        ("ALTER TABLE chains RENAME COLUMN root_task_id TO root", "chains is missing there or lacks columns"),
    ],
)
def test_tables_of_0_1_0_that_do_not_fit_stop_the_start(url: str, change: str, told: str) -> None:
    """Starting over without them would pay again for what is in them."""
    released.load_postgres(url)
    run(url, change)
    with pytest.raises(CannotMove, match=told):
        migrate(url)
    assert tables(url, SCHEMA) == set()


def test_tables_in_both_places_stop_the_start(url: str) -> None:
    """Which of them know what was paid for, a person must say."""
    migrate(url)
    released.load_postgres(url)
    with pytest.raises(CannotMove, match="drop the tables in public, or rename"):
        migrate(url)


@pytest.fixture
def limited_url(url: str, postgres_server: str) -> Iterator[str]:
    """The same database for a role that may connect, and create nothing."""
    role = f"limited_{secrets.token_hex(4)}"
    run(postgres_server, f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    yield make_url(url).set(username=role, password="x").render_as_string(hide_password=False)
    run(url, f"DROP OWNED BY {role}")
    run(postgres_server, f"DROP ROLE {role}")


def test_a_role_that_may_not_create_is_told_what_to_run(url: str, limited_url: str) -> None:
    """An administrator runs just that, and it works."""
    role = make_url(limited_url).username
    with pytest.raises(MissingRight, match=f"`CREATE SCHEMA {SCHEMA} AUTHORIZATION {role}`") as refused:
        migrate(limited_url)
    assert "permission denied for database" in str(refused.value)
    run(url, str(refused.value).split("`")[1])
    migrate(limited_url)
    assert tables(url, SCHEMA) == OURS
    assert run(url, f"SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = '{SCHEMA}'") == [(role,)]


@pytest.mark.parametrize("granted", ["", "GRANT USAGE ON SCHEMA {schema} TO {role}"])
def test_a_schema_that_the_role_may_not_use_is_told_too(url: str, limited_url: str, granted: str) -> None:
    """The statement in the message is enough, whatever is missing."""
    role = make_url(limited_url).username
    run(url, f"CREATE SCHEMA {SCHEMA}", granted.format(schema=SCHEMA, role=role) or "SELECT 1")
    with pytest.raises(MissingRight, match="GRANT USAGE, CREATE") as refused:
        migrate(limited_url)
    run(url, str(refused.value).split("`")[1])
    migrate(limited_url)
    assert tables(url, SCHEMA) == OURS


def test_tables_of_0_1_0_move_into_a_schema_made_beforehand(url: str, limited_url: str) -> None:
    """By an administrator, for a role that may create none."""
    role = make_url(limited_url).username
    run(url, f"GRANT CREATE ON SCHEMA public TO {role}", f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {role}")
    released.load_postgres(limited_url)
    migrate(limited_url)
    assert (tables(url, "public"), tables(url, SCHEMA)) == (set(), OURS)


def test_tables_that_another_role_owns_are_not_moved(url: str, limited_url: str) -> None:
    """Its owner must run the migration, and is told so."""
    role = make_url(limited_url).username
    released.load_postgres(url)
    run(
        url,
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {role}",
    )
    with pytest.raises(
        MissingRight, match=r"must be owner of table \w+; .* as the role that owns the tables"
    ):
        migrate(limited_url)
    assert tables(url, "public") == OURS - {
        "aliases",
        "approvals",
        "blob_pieces",
        "blob_uses",
        "blobs",
        "budgets",
        "chain_stores",
        "client_keys",
        "joins",
        "refusals",
        "seeds",
        "tickets",
        "timetable",
    }
