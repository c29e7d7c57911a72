"""Databases that release 0.1.0 left behind, recorded from its own code, and its older revisions."""

from __future__ import annotations

import importlib.util
import lzma
import re
import shutil
import sqlite3
import time
from pathlib import Path

import msgspec
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import NullPool, create_engine

from storage.migrate import SCRIPTS
from tests.support import postgres
from tests.support.small_upstream import Known

RECORDED = Path(__file__).parent.parent / "storage" / "released"
RECORDED_AT_MS = 1_764_000_000_000

KILLED = RECORDED / "0.1.0-rules"
"""A server of 0.1.0 (commit ef98b4c) that was killed with `kill -9` in the midst of its work for rules and a plugin.

`hookchain serve` of that commit ran here with `hookchain.toml` and `plugins/`, at a troubled `SmallUpstream`, and got its prompts
from the API: a cat, a forbidden flower, a slow turtle, two whose connection hung up, one with a wrong key, a fish, one at a full
queue, a bird, a dog, a horse, and two that the upstream held back until the process was killed. Then the databases were dumped
by `Connection.iterdump` and `pg_dump --inserts`, the times in them moved so that the kill was at `RECORDED_AT_MS`, and packed.
`api.txt` has the fields of all answers of its API.
"""
TIME = re.compile(rb"(?<!\d)176[34]\d{9}(?!\d)")


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


def _moved(data: bytes, ago_s: float) -> bytes:
    """The times of a record, as if the kill had been so long ago."""
    later_ms = time.time_ns() // 1_000_000 - int(ago_s * 1000) - RECORDED_AT_MS
    return TIME.sub(lambda found: str(int(found[0]) + later_ms).encode(), data)


class Killed:
    """What the killed server and its upstream left behind, in a folder: of the kind "sqlite" or "postgresql"."""

    def __init__(self, kind: str, *, ago_s: float) -> None:
        def read(name: str) -> bytes:
            return lzma.decompress((KILLED / f"{kind}.{name}.xz").read_bytes())

        def blob(found: re.Match[bytes]) -> bytes:
            moved = _moved(bytes.fromhex(found[2].decode()), ago_s).hex()
            return found[1] + moved.encode() + b"'"

        self._sql = re.sub(rb"(X'|'\\x)([0-9a-fA-F]*)'", blob, _moved(read("sql"), ago_s)).decode()
        self.known = msgspec.json.decode(_moved(read("json"), ago_s), type=Known)

    def load(self, url: str) -> None:
        """Fill a database."""
        if url.startswith("sqlite"):
            file = sqlite3.connect(url.removeprefix("sqlite:///"))
            file.executescript(self._sql)
            file.close()
            return
        with postgres.connect(url, autocommit=True) as connection:
            connection.execute(self._sql)

    def write(self, folder: Path, *, upstream: str, told: str) -> str:
        """Put the plugin into a folder. Returns the rule file, as its user wrote it but for two addresses."""
        shutil.copytree(KILLED / "plugins", folder / "plugins")
        text = (KILLED / "hookchain.toml").read_text()
        return text.replace("UPSTREAM", upstream).replace("TOLD", told)


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
