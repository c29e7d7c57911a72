"""The PostgreSQL schema that holds our tables: creates it if it is missing, and moves the tables of release 0.1.0 into it.

Release 0.1.0 created its tables wherever the connection's search_path pointed, normally in `public`, beside those of other
programs. They are recognised by their columns and their revision together, never by name alone: other programs have an
`alembic_version` or a `tasks` table too. Everything happens in the migration's transaction, which one process at a time may run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from storage.driver import server_errors
from storage.errors import CannotMove, MissingRight
from storage.schema import SCHEMA

FENCE = "one_submission_per_intent"
"""The name of a type that is left where the tables were. Release 0.1.0 uses this name for an index when it creates its tables,
so that it fails there instead of starting over with empty tables and paying for everything again. An empty type does not
interfere with other programs; an `alembic_version` left behind would stop every program that uses Alembic."""

REVISIONS = tuple(f"{number:04}" for number in range(1, 11))
"""The revisions of release 0.1.0."""

_CREATED = {
    "attempts": (
        "0001",
        "submission_id number started_at_ms finished_at_ms http_status outcome reason answer",
    ),
    "chains": ("0001", "id upstream root_task_id submissions created_at_ms"),
    "deliveries": (
        "0001",
        "id event_id receiver state attempts run_at_ms decision error created_at_ms updated_at_ms",
    ),
    "events": (
        "0001",
        "id upstream task_id submission_id source signal action status progress advanced pending detail payload"
        " received_at_ms",
    ),
    "meta": ("0001", "key value"),
    "quarantine": ("0001", "id upstream submission_id content_type reason body received_at_ms"),
    "submissions": (
        "0001",
        "id idempotency_key chain_id upstream kind label request parent_id depth asked_by state outcome reason task_ids"
        " attempts run_at_ms started_at_ms created_at_ms updated_at_ms",
    ),
    "tasks": (
        "0001",
        "upstream id status progress action chain_id submission_id parent_id depth created_at_ms updated_at_ms"
        " finished_at_ms",
    ),
    "spent": ("0005", "idempotency_key submission_id"),
    "firings": ("0006", "receiver scope count"),
    "leases": ("0007", "name holder since_ms until_ms"),
    "upstreams": (
        "0007",
        "name paused rate_paid_until_us held_until_ms failures open_until_ms open_ms",
    ),
    "traffic": ("0009", "minute_ms series happened total_us slowest_us"),
}
"""The tables of release 0.1.0: the revision that created each, and its columns at that revision."""

_COLUMNS = f"""
SELECT n.nspname, c.relname, a.attname
FROM pg_namespace n
JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p')
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = ANY (current_schemas(false)) AND n.nspname <> '{SCHEMA}'
  AND c.relname IN ({", ".join(f"'{name}'" for name in (*_CREATED, "alembic_version"))})
"""

Tables = dict[str, set[str]]
"""The columns of each table, by the table's name."""


class Former(msgspec.Struct, frozen=True, kw_only=True):
    """The schema in which release 0.1.0 created its tables, and the tables of the revision found there."""

    schema: str
    tables: tuple[str, ...]


_MIGRATING = 7263543216
"""Our number for an advisory lock of the database, above the 32 bits that programs hash names to. Release 0.1.0 takes the same
lock, so that it cannot start while its tables are moved."""


def alone_to_migrate(connection: Connection) -> None:
    """Wait until no other process migrates this database, and keep others out until the transaction ends.

    On a database without advisory locks (early YugabyteDB) it does nothing: there, only one process may migrate at a time.
    """
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATING})")
    except DBAPIError as error:
        if not server_errors.is_unknown(error.orig):
            raise


@contextmanager
def inside(connection: Connection, refuse_workers: Callable[[Connection], None]) -> Iterator[None]:
    """Create the schema or move our tables into it, and resolve unqualified names in it until the transaction ends.

    Calls `refuse_workers` at a point where no worker of release 0.1.0 can take a lease. Raises `CannotMove` if that does, or
    if it is unclear which tables are ours; `MissingRight`, also for statements of the block.
    """
    role, exists, may_use = connection.exec_driver_sql(
        "SELECT quote_ident(current_user), n.oid IS NOT NULL, coalesce(has_schema_privilege(n.oid, 'USAGE'), false)"
        f" FROM (SELECT 1) one LEFT JOIN pg_namespace n ON n.nspname = '{SCHEMA}'"
    ).one()
    grant = f"GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO {role}"
    former = _former(connection)
    if not exists:
        with _needing(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {role}"):
            connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}")
    elif not may_use:
        raise MissingRight(_cure(f"permission denied for schema {SCHEMA}", grant))
    # Local to the transaction, so that a connection pooler can neither lose it nor pass it on to another client.
    connection.exec_driver_sql(f"SET LOCAL search_path TO {SCHEMA}")
    with _needing(grant):
        if former is not None:
            _move(connection, former, refuse_workers)
        yield


@contextmanager
def _needing(statement: str) -> Iterator[None]:
    """Raise `MissingRight`, which says what to run, if the role lacks a privilege that the block needs."""
    try:
        yield
    except DBAPIError as error:
        if (why := server_errors.missing_right(error.orig)) is None:
            raise
        raise MissingRight(_cure(why, statement)) from error


def _cure(why: str, statement: str) -> str:
    return (
        f"the database cannot be migrated: {why}; have its administrator run `{statement}` and start again, "
        "or run `hookchain migrate` as the role that owns the tables"
    )


def _former(connection: Connection) -> Former | None:
    """The tables of release 0.1.0 in a schema on the connection's search_path; None if there are none."""
    schemas: dict[str, Tables] = {}
    for schema, table, column in connection.exec_driver_sql(_COLUMNS):
        schemas.setdefault(schema, {}).setdefault(table, set()).add(column)
    for schema, tables in schemas.items():
        if _has(tables, "submissions"):  # no other program has a table with all of these columns
            return Former(schema=schema, tables=_certain(connection, schema, tables))
    return None


def _has(tables: Tables, name: str) -> bool:
    return tables.get(name, set()).issuperset(_CREATED[name][1].split())


def _certain(connection: Connection, schema: str, tables: Tables) -> tuple[str, ...]:
    """Our tables at the schema's revision. Raises `CannotMove` if a table or the revision does not fit."""
    versions: list[str] = []
    if tables.get("alembic_version") == {"version_num"}:
        rows = connection.exec_driver_sql(
            f"SELECT version_num FROM {_quoted(connection, schema)}.alembic_version"
        )
        versions = list(rows.scalars())
    if len(versions) != 1 or versions[0] not in REVISIONS:
        raise CannotMove(
            f"the schema {schema} holds tables of hookchain 0.1.0, but its alembic_version "
            f"{'says ' + ', '.join(versions) if versions else 'is missing or empty'}, which is not a revision of that release; "
            "restore the revision (0010 for hookchain 0.1.0), or drop those tables if you do not need them"
        )
    expected = tuple(name for name, (since, _) in _CREATED.items() if since <= versions[0])
    if lacking := [name for name in expected if not _has(tables, name)]:
        raise CannotMove(
            f"the schema {schema} holds tables of hookchain 0.1.0 at revision {versions[0]}, but {lacking[0]} is missing "
            "there or lacks columns; restore it from a backup, or drop those tables if you do not need them"
        )
    return expected


def _move(connection: Connection, former: Former, refuse_workers: Callable[[Connection], None]) -> None:
    if connection.exec_driver_sql(f"SELECT to_regclass('{SCHEMA}.submissions')").scalar() is not None:
        raise CannotMove(
            f"the database has tables of hookchain in the schema {SCHEMA} and tables of hookchain 0.1.0 in the schema "
            f"{former.schema}; this release uses {SCHEMA}: drop the tables in {former.schema}, or rename one of the two "
            "schemas if you need what is in them"
        )
    schema = _quoted(connection, former.schema)
    for name in (*former.tables, "alembic_version"):
        connection.exec_driver_sql(f"ALTER TABLE {schema}.{name} SET SCHEMA {SCHEMA}")
    # Only now, because no worker can renew or take a lease while the table is being moved.
    if "leases" in former.tables:
        refuse_workers(connection)
    _fence(connection, former.schema, schema)


def _fence(connection: Connection, name: str, quoted: str) -> None:
    """Keep release 0.1.0 from creating new tables where they were. Not needed if our role may create nothing there."""
    may_create = "SELECT has_schema_privilege(%s, 'CREATE')"
    if connection.exec_driver_sql(may_create, (name,)).scalar_one():
        connection.exec_driver_sql(f"CREATE TYPE {quoted}.{FENCE} AS ()")
        connection.exec_driver_sql(
            f"COMMENT ON TYPE {quoted}.{FENCE} IS 'The tables of hookchain are in the schema {SCHEMA} now. This type keeps"
            " hookchain 0.1.0 from starting over without them; drop it once that release is no longer deployed.'"
        )


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(name)
