"""Identifies a database on a PostgreSQL server, so that a restored copy of it is recognised.

Each way to restore changes something that PostgreSQL itself keeps: a dump makes new tables, a copy inside the server is another
database, another server has another identifier, and a server that was recovered to a point in time, or promoted, begins a new
timeline. Only a snapshot of the files, put back under the same server, changes nothing.
"""

from __future__ import annotations

from sqlalchemy import Connection

from storage.driver import server_errors
from storage.driver.locks import many_writers
from storage.driver.statements import Query
from storage.schema import SCHEMA

# https://www.postgresql.org/docs/current/functions-info.html: any role may call these. The name of a WAL file begins with the timeline.
_IDENTITY = Query(
    f"""
    SELECT concat_ws(' ',
      (SELECT system_identifier FROM pg_control_system()),
      substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
      (SELECT oid FROM pg_database WHERE datname = current_database()),
      CAST(CAST('{SCHEMA}.submissions' AS regclass) AS oid))
    """,
    str,
)


def identity(connection: Connection) -> str:
    """What identifies this database; "" on SQLite, and on servers that lack PostgreSQL's functions (CockroachDB, YugabyteDB)."""
    if not many_writers(connection):
        return ""
    try:
        with connection.begin_nested():
            return _IDENTITY.one(connection)
    except server_errors.kinds() as error:
        if not server_errors.is_unknown(error):
            raise
        return ""
