"""Bring a database to the schema of this release."""

from __future__ import annotations

import time
from pathlib import Path

import structlog
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError

from storage import own_schema, postgres, sqlite
from storage.engine import parse_url
from storage.errors import NotDurable, SchemaTooNew
from storage.outage import is_outage

log = structlog.get_logger("hookchain")

SCRIPTS = Path(__file__).parent / "migrations"

TRIED_EVERY_S = 1.0


def migrate(url: str, *, patience_s: float = 0, scripts: Path = SCRIPTS) -> str:
    """Run what is missing, in one transaction; the revision the database is at then. Safe to run twice, or twice at once.

    Blocks. A server that does not answer yet is waited for as long as `patience_s`; `scripts` is where the revisions of
    this release lie. Raises `BadDatabaseUrl`, `SchemaTooNew` for a database of a newer release, `CannotMove` and
    `MissingRight` (`storage/own_schema.py`), `NotDurable` when it cannot be opened or written.
    """
    deadline_s = time.monotonic() + patience_s
    while True:
        try:
            return _migrate(url, scripts)
        except DBAPIError as error:
            address = parse_url(url)
            where = address if isinstance(address, Path) else address.shown
            told = f"the database {where} cannot be used: {str(error.orig).strip()}"
            told += sqlite.obstacle(address) if isinstance(address, Path) else ""
            hopeless = isinstance(address, Path) or postgres.is_hopeless(error.orig) or not is_outage(error)
            if hopeless or time.monotonic() >= deadline_s:
                raise NotDurable(told) from error
            log.warning("waiting for the database", why=told)
            time.sleep(TRIED_EVERY_S)  # it is being started: nothing of it can be awaited


def _migrate(url: str, scripts: Path) -> str:
    address = parse_url(url)
    is_file = isinstance(address, Path)
    engine = sqlite.migration_engine(address) if isinstance(address, Path) else postgres.write_engine(address)
    try:
        with engine.begin() as connection:
            if is_file:
                return _upgrade(connection, scripts)
            postgres.alone_to_migrate(connection)
            with own_schema.inside(connection):
                return _upgrade(connection, scripts)
    finally:
        engine.dispose()


def _upgrade(connection: Connection, location: Path) -> str:
    known = sorted(file.stem.partition("_")[0] for file in (location / "versions").glob("0*.py"))
    current = _revision(connection)
    if current is not None and current not in known:
        raise SchemaTooNew(
            f"the database is at revision {current}, which this release does not know; "
            "start the release that made it, or a newer one"
        )
    if current != known[-1]:
        _run(connection, location)
    return known[-1]


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return found


def _run(connection: Connection, location: Path) -> None:
    # Here, since it takes as long to import as all of ours, and is needed once.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(location))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
