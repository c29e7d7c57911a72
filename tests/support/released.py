"""Databases as release 0.1.0 left them, recorded from its own code, and its older revisions."""

from __future__ import annotations

import importlib.util
import re
import sqlite3
import time
from pathlib import Path

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import NullPool, create_engine

from storage.migrate import SCRIPTS
from tests.support import postgres

RECORDED = Path(__file__).parent.parent / "storage" / "released"
RECORDED_AT_MS = 1_764_000_000_000


def _sql(kind: str) -> str:
    """The recorded statements, as if it had all happened a minute ago: old work would be retired."""
    later_ms = time.time_ns() // 1_000_000 - 60_000 - RECORDED_AT_MS
    text = (RECORDED / f"0.1.0-{kind}.sql").read_text()
    return re.sub(r"\b1764000\d{6}\b", lambda found: str(int(found[0]) + later_ms), text)


def load_postgres(url: str) -> None:
    """Fill the schema `public` of a database."""
    with postgres.connect(url, autocommit=True) as connection:
        connection.execute(_sql("postgresql"))


def load_sqlite(file: Path) -> None:
    """Make the file."""
    connection = sqlite3.connect(file)
    connection.executescript(_sql("sqlite"))
    connection.close()


def make_revision(url: str, revision: str, schema: str = "public") -> None:
    """The tables of release 0.1.0 as they were at an older revision, empty, in a PostgreSQL schema."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: postgres.connect(url), poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SET LOCAL search_path TO {schema}")
        with Operations.context(MigrationContext.configure(connection)):
            for script in sorted((SCRIPTS / "versions").glob("0*.py")):
                if script.stem[:4] <= revision:
                    spec = importlib.util.spec_from_file_location(f"revision_{script.stem}", script)
                    assert spec is not None
                    assert spec.loader is not None
                    module = importlib.util.module_from_spec(spec)
                    spec.loader.exec_module(module)
                    module.upgrade()
        connection.exec_driver_sql(
            "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL PRIMARY KEY)"
        )
        connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{revision}')")
    engine.dispose()
