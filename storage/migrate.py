"""Bring a database to the schema of this release."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError

from storage.engine import parse_url, set_up_sqlite
from storage.errors import NotDurable, SchemaTooNew

_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(url: str) -> str:
    """Run what is missing, in one transaction; the revision the database is at then. Safe to run twice, or twice at once.

    Blocks. Raises `BadDatabaseUrl`, `SchemaTooNew` for a database of a newer release, `NotDurable` when the file
    cannot be opened or written.
    """
    parsed = parse_url(url)
    engine = create_engine(parsed.set(drivername="sqlite"))
    set_up_sqlite(engine, begin="BEGIN IMMEDIATE")
    try:
        with engine.begin() as connection:
            return _upgrade(connection)
    except DBAPIError as error:
        raise NotDurable(f"the database {parsed.database} cannot be used: {error.orig}") from error
    finally:
        engine.dispose()


def _upgrade(connection: Connection) -> str:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    newest = scripts.get_current_head() or ""
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise SchemaTooNew(
            f"the database is at revision {current}, which this release does not know; "
            "start the release that made it, or a newer one"
        )
    if current != newest:
        command.upgrade(config, "head")
    return newest
