"""Recognises connection poolers such as PgBouncer, where each transaction may get another server connection."""

from __future__ import annotations

from typing import Any

import psycopg

SERVER_PID = "SELECT pg_backend_pid()"
"""Returns the number of the server process that answers."""


def is_pooled(known: bool | None, connection: psycopg.BaseConnection[Any], server_pid: int) -> bool:
    """True if a pooler is in between: poolers give a new connection an invented number, which differs from the answer to
    `SERVER_PID`. An address may say so itself (`known`)."""
    return connection.info.backend_pid != server_pid if known is None else known
