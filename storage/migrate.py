"""Migrates a database to the schema of this release."""

from __future__ import annotations

import time
from pathlib import Path

import structlog
from sqlalchemy import Connection, inspect

from storage.driver import own_schema, private_files, server_errors, sqlite
from storage.driver.outage import driver_errors, is_outage, original
from storage.engine import parse_url
from storage.errors import CannotMove, NotDurable, SchemaTooNew
from storage.workers import leases

log = structlog.get_logger("hookchain")

SCRIPTS = Path(__file__).parent / "migrations"

RETRY_INTERVAL_S = 1.0


def migrate(url: str, *, patience_s: float = 0, scripts: Path = SCRIPTS) -> str:
    """Run the missing migrations in one transaction; returns the resulting revision. Safe to run repeatedly and concurrently.

    Blocks. Waits up to `patience_s` for a server that does not answer yet; `scripts` is the directory of this release's
    revisions. Raises `BadDatabaseUrl`, `SchemaTooNew` for a database of a newer release, `CannotMove` and `MissingRight`
    (`storage/driver/own_schema.py`), `NotDurable` if the database cannot be opened or written.
    """
    deadline_s = time.monotonic() + patience_s
    while True:
        try:
            return _migrate(url, scripts)
        except driver_errors() as error:
            address = parse_url(url)
            where = address if isinstance(address, Path) else address.shown
            problem = f"the database {where} cannot be used: {str(original(error)).strip()}"
            problem += sqlite.obstacle(address) if isinstance(address, Path) else ""
            hopeless = (
                isinstance(address, Path)
                or server_errors.is_hopeless(original(error))
                or not is_outage(error)
            )
            if hopeless or time.monotonic() >= deadline_s:
                raise NotDurable(problem) from error
            log.warning("waiting for the database", why=problem)
            time.sleep(RETRY_INTERVAL_S)  # a starting server announces nothing that could be awaited


def _migrate(url: str, scripts: Path) -> str:
    address = parse_url(url)
    is_file = isinstance(address, Path)
    if isinstance(address, Path):
        private_files.create(address)
        private_files.tighten(address)
    engine = sqlite.migration_engine(address) if isinstance(address, Path) else address.write_engine()
    try:
        with engine.begin() as connection:
            if is_file:
                return _upgrade(connection, scripts)
            own_schema.alone_to_migrate(connection)
            with own_schema.inside(connection, _refuse_workers):
                return _upgrade(connection, scripts)
    finally:
        engine.dispose()


def _refuse_workers(connection: Connection) -> None:
    if leases.alive(connection):
        raise CannotMove(
            "a worker of hookchain 0.1.0 is running on this database: stop all processes of that release, those that only "
            f"receive callbacks too, and start again {leases.TTL_MS // 1000} s later"
        )


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
    revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return revision


def _run(connection: Connection, location: Path) -> None:
    # Imported here because Alembic takes as long to import as all of hookchain, and is rarely needed.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(location))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
